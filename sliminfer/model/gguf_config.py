"""From the header of a GGUF file to a transformers config: sizes, rotary scaling, special tokens.

Everything that the file says about the mathematics is carried over or refused. transformers' own reading leaves out how
Llama 3 and Phi-3 scale their rotary frequencies, and such a model reads long prompts wrongly without a word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoConfig

from sliminfer.errors import ModelError
from sliminfer.model.gguf_header import GgufHeader

# Architectures by llama.cpp's name, with transformers' name of the family. Mistral's models are "llama" there.
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3"}

# What Llama 3.1 to 3.3 scale by, besides a factor that differs among them.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def gguf_config(header: GgufHeader) -> Any:
    """The transformers config of the model in the file.

    Raises:
        ModelError: a family or a feature that is not supported, or sizes that do not agree with the weights.
    """
    fields = _Fields(header)
    name, family = header.path.name, ARCHITECTURES.get(header.architecture)
    if family is None:
        raise ModelError(
            f"{name} is a {header.architecture} model, which is not supported as GGUF: use one of "
            f"{', '.join(ARCHITECTURES)}."
        )
    if header.metadata.get("split.count", 1) not in (0, 1):
        raise ModelError(f"{name} is one part of a split model: join the parts with llama-gguf-split --merge.")
    if header.metadata.get("general.type", "model") != "model" or fields.get("expert_count"):
        raise ModelError(f"{name} holds an adapter, a projector or experts, which are not supported as GGUF.")
    hidden, heads = fields.count("embedding_length"), fields.count("attention.head_count")
    head_dim = fields.count("attention.key_length", hidden // heads)
    settings: dict[str, Any] = {
        "num_hidden_layers": fields.count("block_count"),
        "hidden_size": hidden,
        "intermediate_size": fields.count("feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.count("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": fields.count("context_length"),
        "rms_norm_eps": fields.number("attention.layer_norm_rms_epsilon"),
        "vocab_size": fields.shape("token_embd.weight")[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "bos_token_id": header.metadata.get("tokenizer.ggml.bos_token_id"),
        "pad_token_id": header.metadata.get("tokenizer.ggml.padding_token_id"),
        "eos_token_id": _ends(header),
    }
    _check_sizes(fields, settings)
    settings["rope_parameters"] = _rope(fields, head_dim)
    if family == "phi3":
        del settings["head_dim"]  # always hidden / heads there
        settings["original_max_position_embeddings"] = settings["rope_parameters"].get(
            "original_max_position_embeddings", settings["max_position_embeddings"]
        )
    if family == "llama":
        settings["attention_bias"] = "blk.0.attn_output.bias" in header.tensors
        settings["mlp_bias"] = "blk.0.ffn_down.bias" in header.tensors
    if window := fields.get("attention.sliding_window"):
        family = {"llama": "mistral"}.get(family, family)
        if family not in ("mistral", "phi3"):
            raise ModelError(f"{name} attends in sliding windows, which is not supported for {family} as GGUF.")
        settings["sliding_window"] = window
    return AutoConfig.for_model(family, **settings)


class _Fields:
    """The metadata of a file's own architecture, checked as it is read."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header

    def get(self, key: str) -> Any:
        return self.header.metadata.get(f"{self.header.architecture}.{key}")

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number above 0; `default` where the file does not say."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self.damaged(f"{key} is {value}")
        return float(value)

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number above 0; `default` where the file does not say."""
        value = self.number(key, default)
        if value != int(value):
            raise self.damaged(f"{key} is {value}")
        return int(value)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of tensor `name`."""
        if name not in self.header.tensors:
            raise self.damaged(f"{name} is missing")
        return self.header.tensors[name].shape

    def values(self, name: str) -> list[float]:
        """The numbers of the small fp32 tensor `name`."""
        tensor = self.header.tensors[name]
        if tensor.kind != "F32":
            raise self.damaged(f"{name} is {tensor.kind}")
        found: list[float] = np.fromfile(self.header.path, "<f4", tensor.size // 4, offset=tensor.start).tolist()
        return found

    def damaged(self, what: str) -> ModelError:
        return ModelError(f"{self.header.path.name} does not agree with itself ({what}): download it again.")


def _check_sizes(fields: _Fields, settings: dict[str, Any]) -> None:
    """Raise ModelError where the sizes do not agree with the weights, before anything of such a size is made."""
    hidden, layers = settings["hidden_size"], settings["num_hidden_layers"]
    seen = {name.split(".")[1] for name in fields.header.tensors if name.startswith("blk.")}
    if seen != {str(i) for i in range(len(seen))} or len(seen) != layers:
        raise fields.damaged(f"{layers} layers, and weights of {len(seen)}")
    wanted = {
        "token_embd.weight": (settings["vocab_size"], hidden),
        "blk.0.attn_output.weight": (hidden, settings["num_attention_heads"] * settings["head_dim"]),
        "blk.0.ffn_down.weight": (hidden, settings["intermediate_size"]),
    }
    for name, shape in wanted.items():
        if fields.shape(name) != shape:
            raise fields.damaged(f"{name} is {fields.shape(name)} and should be {shape}")


def _ends(header: GgufHeader) -> list[int]:
    """Tokens that end an answer: the end of text, and the end of a turn where the file names it."""
    keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return sorted({header.metadata[key] for key in keys if isinstance(header.metadata.get(key), int)})


def _rope(fields: _Fields, head_dim: int) -> dict[str, Any]:
    """transformers' rope_parameters, from the metadata and the factors that some models keep as tensors."""
    rotated = fields.count("rope.dimension_count", head_dim)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": fields.number("rope.freq_base", 10000.0)}
    if rotated != head_dim:
        if fields.header.architecture != "phi3":
            raise fields.damaged(f"{rotated} of {head_dim} dimensions are rotated")
        rope["partial_rotary_factor"] = rotated / head_dim
    kind = fields.get("rope.scaling.type") or "none"
    if "rope_factors_long.weight" in fields.header.tensors:
        return rope | _longrope(fields)
    if "rope_freqs.weight" in fields.header.tensors:
        return rope | _llama3(fields, rope["rope_theta"], rotated)
    if kind == "linear":
        return rope | {"rope_type": "linear", "factor": fields.number("rope.scaling.factor")}
    if kind == "yarn":
        return rope | _yarn(fields)
    if kind != "none":
        raise ModelError(f"{fields.header.path.name} scales its positions by {kind}, which is not supported.")
    return rope


def _yarn(fields: _Fields) -> dict[str, Any]:
    factor = fields.number("rope.scaling.factor")
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": fields.count("rope.scaling.original_context_length"),
        "attention_factor": fields.number("rope.scaling.attn_factor", 1.0) * (0.1 * math.log(factor) + 1.0),
    }


def _longrope(fields: _Fields) -> dict[str, Any]:
    scaled = {
        "rope_type": "longrope",
        "long_factor": fields.values("rope_factors_long.weight"),
        "short_factor": fields.values("rope_factors_short.weight"),
        "original_max_position_embeddings": fields.count("rope.scaling.original_context_length"),
    }
    if fields.get("rope.scaling.attn_factor") is not None:
        scaled["attention_factor"] = fields.number("rope.scaling.attn_factor")
    return scaled


def _llama3(fields: _Fields, theta: float, rotated: int) -> dict[str, Any]:
    """Llama 3's scaling: the file keeps what each frequency is divided by, transformers what that follows from."""
    divisors = fields.values("rope_freqs.weight")
    factor = max(divisors)
    if not np.allclose(divisors, llama3_divisors(theta, rotated, factor), rtol=1e-3):
        raise ModelError(f"{fields.header.path.name} scales its positions in a way of its own, which is not supported.")
    return {"rope_type": "llama3", "factor": factor, **_LLAMA3}


def llama3_divisors(theta: float, rotated: int, factor: float) -> Sequence[float]:
    """What Llama 3 divides its [rotated / 2] frequencies by: 1 for short waves, `factor` for long ones."""
    low, high, context = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"], 8192
    divisors = []
    for i in range(0, rotated, 2):
        turns = context / (2 * math.pi * theta ** (i / rotated))  # of this frequency in the original context
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1 / ((1 - smooth) / factor + smooth))
    return divisors
