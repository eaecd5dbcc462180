"""Workspace: memory that is used again from layer to layer."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class Workspace(threading.local):
    """Buffers for wide results on a CPU, kept from layer to layer; each thread has its own.

    A fresh buffer of this size is returned to the system when freed, and mapping it again costs 6 % of the
    MLP's time in page faults. On a GPU torch's caching allocator does the same service.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """An uninitialised `[rows, columns]` CPU tensor, the same memory for the same name."""
        held = self._buffers.get(name)
        stale = held is not None and held.is_inference() and not torch.is_inference_mode_enabled()
        if held is None or stale or held.dtype != dtype or held.numel() < rows * columns:
            held = self._buffers[name] = torch.empty(rows * columns, dtype=dtype)
        return held[: rows * columns].view(rows, columns)
