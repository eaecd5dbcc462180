"""Llama 4: three layers that rotate and see their chunk of the text, to one that sees everything and rotates nothing.

Queries of the latter are multiplied by what grows with their position, which the layer counts from the length of its
cache: here it is told how far each token's position is from that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache
from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted


def _rotates(attention: Any) -> bool:
    return bool(attention.use_rope)


def _rotate(attention: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair of neighbours turned as a complex number."""
    first, second = states.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[:, None], sin[:, None]
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], -1)
    rotated: Tensor = turned.flatten(-2).to(states.dtype)
    return rotated


def _temperature(attention: Any, positions: Tensor) -> Tensor:
    if attention.use_rope or not attention.attn_temperature_tuning:
        return torch.ones(len(positions), device=positions.device)
    steps = torch.floor((positions.float() + 1.0) / attention.floor_scale)
    heat: Tensor = torch.log1p(steps) * attention.attn_scale + 1.0
    return heat


class _Placed:
    """What a layer is given for its cache: the length of what is before each of its tokens is such that the position
    which it counts from there is the token's own."""

    def __init__(self, cache: Cache | None, positions: Tensor) -> None:
        self._cache = cache
        self._before = positions - torch.arange(len(positions), device=positions.device)

    def get_seq_length(self, layer_idx: int = 0) -> Tensor:
        return self._before

    def update(self, keys: Tensor, values: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        if self._cache is None:
            return keys, values
        both: tuple[Tensor, Tensor] = self._cache.update(keys, values, layer_idx)
        return both


LLAMA4_TEXT = Family(
    "llama4_text",
    "Llama 4",
    backends=("sdpa",),
    query_norm="qk_norm",
    key_norm="qk_norm",
    normed="rotated",
    complex_angles=True,
    rotates=_rotates,
    rotate=_rotate,
    temperature=_temperature,
    placed=_Placed,
    shape=counted,
    output=MoeModelOutputWithPast,
)
