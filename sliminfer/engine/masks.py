"""Attention masks by original position, for layers whose caches hold different tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from sliminfer.errors import ModelError
from sliminfer.model.windows import binds, within


def attention_mask(
    implementation: str,
    queries: Tensor,
    keys: Tensor,
    window: int | None,
    dtype: torch.dtype,
) -> Tensor | None:
    """The mask of one layer, or None where the backend's own causal rule is already right.

    Args:
        implementation: transformers' name of the attention backend.
        queries: ascending original positions of the query tokens [q].
        keys: original positions of the key tokens, ending with the queries [k]; the others in any order.
        window: sliding window in tokens, or chunk, or None; see `model.windows`.
        dtype: dtype of the hidden states (additive masks of eager attention).

    Returns:
        Boolean [1, 1, q, k] for sdpa, additive for eager, None for flash attention, which aligns the causal
        triangle to the end of the keys by itself.
    """
    # Without a window nothing is read back: that would wait for the device at every layer.
    first, last = (0, 0) if window is None else (int(keys.min()), int(keys[-1]))
    bound = window is not None and binds(window, first, last)
    if "flash" in implementation:
        if bound and last - first + 1 > len(keys):
            raise ModelError(
                "This model's sliding-window layers cannot be pruned under flash attention, which counts "
                'the window in kept tokens: load it with attention "sdpa" or use a prompt that fits the window.'
            )
        return None
    aligned = len(queries) == 1 or len(queries) == len(keys)
    if not bound and aligned and (implementation == "sdpa" or len(queries) == 1):
        return None
    visible = keys[None, :] <= queries[:, None]
    if bound and window is not None:
        visible &= within(window, queries, keys)
    return as_mask(implementation, visible, dtype)


def as_mask(implementation: str, visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Which keys each query sees, bool [q, k], as the backend takes it [1, 1, q, k]."""
    if implementation == "sdpa":
        return visible[None, None]
    seen = torch.tensor(0.0, dtype=dtype, device=visible.device)
    return torch.where(visible[None, None], seen, torch.finfo(dtype).min)
