"""Devices and number formats: what a name stands for on this machine, and how much memory is free there."""

from __future__ import annotations

from importlib.util import find_spec

import psutil
import torch

from sliminfer.errors import ModelError, needs_extra
from sliminfer.ops.compat import has_amx, has_avx512_bf16


def resolve_device(device: str) -> torch.device:
    """The torch device that `device` names; raises ModelError where it is not there, or what it takes is not."""
    if device == "balanced" and find_spec("accelerate") is None:
        raise ModelError(needs_extra("A model spread over all GPUs", "accelerate", "evaluate"))
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
    """The torch dtype that `dtype` names; "auto" is bf16 where the device has instructions for it."""
    if dtype == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else has_avx512_bf16() or has_amx()
        return torch.bfloat16 if native else torch.float32
    known = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    if dtype not in known:
        raise ModelError(f"Unknown dtype {dtype!r}: use auto, {', '.join(known)}.")
    return known[dtype]


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken on `device` now."""
    if device.type == "cuda":
        # What torch keeps for the next tensors can be taken, too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)
