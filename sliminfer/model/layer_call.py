"""How a decoder layer of a stock model is called one by one, and what its decoder makes angles with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from sliminfer.model.families.base import Family


def call_layer(
    layer: Any,
    family: Family,
    hidden: Tensor,
    mask: Tensor | None,
    table: tuple[Tensor, Tensor],
    positions: Tensor,
    cache: Cache | None,
) -> Tensor:
    """The result [1, n, hidden] of a layer's own forward.

    Args:
        hidden: the states that enter it [1, n, hidden].
        mask: as its attention backend takes it.
        table: cosines and sines [1, n, rotary_dim] each.
        positions: what these were made from, int64 [n].
        cache: where keys and values go, None for nowhere.
    """
    out = layer(
        hidden,
        attention_mask=mask,
        position_embeddings=torch.complex(*table) if family.complex_angles else table,
        position_ids=positions[None] if family.temperature else None,
        past_key_values=cache if family.placed is None else family.placed(cache, positions.to(hidden.device)),
        use_cache=cache is not None,
    )
    states: Tensor = out[0] if isinstance(out, tuple) else out
    return states


def rotary_kinds(rotary: Any, config: Any, layers: int) -> tuple[tuple[str, ...] | None, list[int]]:
    """The kinds of layers that a rotary module makes tables of, None for one table, and each layer's."""
    if not hasattr(rotary, "layer_types"):
        return None, [0] * layers
    types = config.layer_types[:layers]
    kinds = tuple(sorted(set(types)))
    return kinds, [kinds.index(kind) for kind in types]


def rotary_tables(rotary: Any, kinds: tuple[str, ...] | None, hidden: Tensor, positions: Tensor) -> Any:
    """Cosines and sines of `positions`, int64 [n], for each of `kinds`; of complex angles the two parts."""
    place = positions[None]
    if kinds is None:
        table = rotary(hidden, position_ids=place)
        return ((table.real.contiguous(), table.imag.contiguous()) if torch.is_tensor(table) else table,)
    return tuple(rotary(hidden, position_ids=place, layer_type=kind) for kind in kinds)
