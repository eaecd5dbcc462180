"""Loading models, the list of known ones, and what a prompt will cost in memory."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from sliminfer.attention import choose_attention, describe_attention
from sliminfer.errors import ModelError
from sliminfer.families import SUPPORTED
from sliminfer.shapes import ModelShape

_log = logging.getLogger(__name__)

DEMO_MODEL = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "demo_model"


@dataclass(frozen=True)
class KnownModel:
    """A model that is known to work, with its published dimensions."""

    name: str
    shape: ModelShape
    note: str


# Dimensions from the models' published config.json files: layers, hidden, intermediate, heads, kv heads,
# head dimension, vocabulary, context, tied embeddings.
KNOWN: dict[str, KnownModel] = {
    name: KnownModel(name, ModelShape(*shape), note)
    for name, shape, note in (
        ("Qwen/Qwen2.5-0.5B-Instruct", (24, 896, 4864, 14, 2, 64, 151936, 32768, True), "laptop"),
        ("Qwen/Qwen3-0.6B", (28, 1024, 3072, 16, 8, 128, 151936, 40960, True), "laptop"),
        ("meta-llama/Llama-3.2-1B-Instruct", (16, 2048, 8192, 32, 8, 64, 128256, 131072, True), "gated"),
        ("Qwen/Qwen2.5-1.5B-Instruct", (28, 1536, 8960, 12, 2, 128, 151936, 32768, True), "one GPU"),
        ("microsoft/Phi-3.5-mini-instruct", (32, 3072, 8192, 32, 32, 96, 32064, 131072, False), "one GPU"),
        ("Qwen/Qwen2.5-7B-Instruct", (28, 3584, 18944, 28, 4, 128, 152064, 32768, False), "one GPU"),
        ("mistralai/Mistral-7B-Instruct-v0.3", (32, 4096, 14336, 32, 8, 128, 32768, 32768, False), "gated"),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            (32, 4096, 14336, 32, 8, 128, 128256, 131072, False),
            "gated; the model of the paper",
        ),
    )
}


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
    def weights_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.model.parameters())


def load_model(
    name: str = DEMO_MODEL,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    allowed: Iterable[str] | None = None,
) -> LoadedModel:
    """Load the demo model, a local folder or a Hub id.

    Only safetensors weights are read and no code from the model's repository is ever run.

    Args:
        name: "demo", a folder with config.json and *.safetensors, or a Hub id.
        device: "auto", "cpu", "cuda", "cuda:N", or "balanced" to spread the layers over all GPUs.
        dtype: "auto" (bf16 where the device computes in it, else fp32), "bfloat16", "float16" or "float32".
        attention: "auto", or transformers' name of an attention backend.
        allowed: the only names that may be loaded, or None for any.

    Raises:
        ModelError: unknown or unsupported model, nothing at that place, or a device that is not there.
    """
    if allowed is not None and name not in allowed:
        raise ModelError(f"{name} is not offered here: choose one of {', '.join(allowed)}.")
    place = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, place)
    source = str(DEMO_FOLDER) if name == DEMO_MODEL else name
    config = read_config(source, name)
    backend = _attention_backend(attention, place, torch_dtype)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            source,
            config=config,
            dtype=torch_dtype,
            attn_implementation=backend,
            use_safetensors=True,
            trust_remote_code=False,
            device_map="balanced" if device == "balanced" else None,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{name} cannot be loaded: {_first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name} has no fast tokenizer, which is needed to map tokens to text: choose another model.")
    if device != "balanced":
        model.to(place)
    return wrap_model(name, model.eval(), tokenizer, place, backend)


def wrap_model(name: str, model: Any, tokenizer: Any, device: torch.device, attention: str) -> LoadedModel:
    """A LoadedModel around a transformers model that is already in memory, run by the backend `attention`."""
    shape = ModelShape.of(model.config)
    return LoadedModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        shape=shape,
        device=device,
        attention=describe_attention(attention, device, model.dtype, shape.heads, shape.kv_heads, shape.head_dim),
        eos=_eos_ids(model, tokenizer),
    )


def read_config(source: str, name: str) -> Any:
    """The transformers config at `source`; raises ModelError where there is none or it is unsupported."""
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"No model found at {name!r}: give a folder with config.json and safetensors, a Hub id with network "
            f"at hand, or {DEMO_MODEL!r}."
        ) from error
    if config.model_type not in SUPPORTED:
        raise ModelError(
            f"{name} is a {config.model_type} model, which is not supported: use one of {', '.join(SUPPORTED)}."
        )
    return config


def resolve_device(device: str) -> torch.device:
    """The torch device that `device` names; raises ModelError where it is not there."""
    if device in ("auto", "balanced"):
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"Unknown device {device!r}: use auto, cpu, cuda, cuda:N or balanced.") from error
    if place.type == "cuda" and (not torch.cuda.is_available() or (place.index or 0) >= torch.cuda.device_count()):
        raise ModelError(f"Device {device} is not available on this machine: use auto or cpu.")
    return torch.device("cuda", place.index or 0) if place.type == "cuda" else place


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch dtype that `dtype` names; "auto" is bf16 where the device multiplies in it at least as fast."""
    if dtype == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_gains_from_bf16()
        return torch.bfloat16 if native else torch.float32
    known = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    if dtype not in known:
        raise ModelError(f"Unknown dtype {dtype!r}: use auto, {', '.join(known)}.")
    return known[dtype]


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes a run will need: weights, KV cache and the transients of one layer."""

    weights: int
    kv: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.activations


def memory_estimate(shape: ModelShape, tokens: int, bytes_per_value: int = 2) -> MemoryEstimate:
    """What the full model needs at a prompt of `tokens` tokens, batch 1.

    Activations: the hidden states twice, queries, keys and values, and the MLP's three intermediates.
    """
    per_token = 2 * shape.hidden + 2 * shape.query_width + 2 * shape.kv_width + 3 * shape.intermediate
    return MemoryEstimate(
        weights=shape.params * bytes_per_value,
        kv=2 * shape.kv_width * shape.layers * tokens * bytes_per_value,
        activations=per_token * tokens * bytes_per_value,
    )


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken on `device` now."""
    if device.type == "cuda":
        # What torch keeps for the next tensors can be taken, too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)


def known_models() -> dict[str, KnownModel]:
    """All known models by name, the shipped one first where it is installed."""
    if not (DEMO_FOLDER / "config.json").is_file():
        return dict(KNOWN)
    shape = ModelShape.of(read_config(str(DEMO_FOLDER), DEMO_MODEL))
    return {DEMO_MODEL: KnownModel(DEMO_MODEL, shape, "ships with the project"), **KNOWN}


def _attention_backend(attention: str, device: torch.device, dtype: torch.dtype) -> str:
    if attention != "auto":
        return attention
    return choose_attention(device, dtype)


@cache
def _cpu_gains_from_bf16() -> bool:
    """Whether a product in bf16 takes this CPU no longer than in fp32; tried once, for some milliseconds.

    Processors without instructions for bf16 emulate it, many times slower; those that have them are two to four
    times as fast as in fp32.
    """
    best: dict[torch.dtype, float] = {}
    for _ in range(5):
        for dtype in (torch.bfloat16, torch.float32):
            factor = torch.ones(512, 512, dtype=dtype)
            start = time.perf_counter()
            torch.mm(factor, factor)
            best[dtype] = min(best.get(dtype, math.inf), time.perf_counter() - start)
    return best[torch.bfloat16] <= best[torch.float32]


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    eos = getattr(model.generation_config, "eos_token_id", None)
    ids = eos if isinstance(eos, list) else [eos]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
