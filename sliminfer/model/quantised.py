"""Weights of fewer bits as transformers loads them: what is asked for, what a model has, and what it takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.utils.import_utils import is_bitsandbytes_available

from sliminfer.errors import ModelError

NONE = "none"
KINDS = (NONE, "int8", "nf4")


def quantising(kind: str, dtype: torch.dtype) -> Any:
    """What `from_pretrained` is told, so that the weights of a model become `kind` when it is loaded; None for nothing.

    Args:
        kind: "none"; "int8" or "nf4" for 8 or 4 bits of bitsandbytes.
        dtype: what 4 bits are unpacked to for a product.

    Raises:
        ModelError: another kind, or the package is not installed.
    """
    if kind not in KINDS:
        raise ModelError(f"Weights cannot be quantised as {kind!r}: choose one of {', '.join(KINDS)}.")
    if kind == NONE:
        return None
    if not is_bitsandbytes_available():
        raise ModelError("Quantised weights need the package bitsandbytes: pip install bitsandbytes.")
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def method_of(config: Any) -> str:
    """How the weights of a config's model are quantised, by transformers' name of the method; "" for not at all."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return ""
    name = found.get("quant_method", "") if isinstance(found, dict) else found.quant_method
    return str(getattr(name, "value", name))


def bytes_of_weights(model: nn.Module) -> int:
    """Bytes of a model's weights, be they parameters or, as with GPTQ and AWQ, buffers."""
    # Angles, which are computed and not read from a file, are the buffers in fp32.
    buffers = (buffer for buffer in model.buffers() if buffer.dtype is not torch.float32)
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *buffers))
