"""Ministral 3: queries far from the start are multiplied by what grows with their position."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

from sliminfer.model.families.base import Family


def _temperature(attention: Any, positions: Tensor) -> Tensor:
    rope = attention.config.rope_parameters
    heat = sys.modules[type(attention).__module__].get_llama_4_attn_scale(
        positions[None], rope.get("llama_4_scaling_beta"), rope.get("original_max_position_embeddings")
    )
    factors: Tensor = heat.flatten()
    return factors


# Flash attention would take positions with gaps for several texts in one row.
MINISTRAL3 = Family("ministral3", "Ministral 3", backends=("sdpa",), temperature=_temperature)
