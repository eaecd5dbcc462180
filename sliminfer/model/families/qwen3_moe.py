"""Qwen3-MoE: as Qwen3, with experts in every layer."""

from __future__ import annotations

from typing import Any

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.experts import mixture
from sliminfer.schedule.shapes import ModelShape


def _shape(config: Any) -> ModelShape:
    return mixture(config, config.moe_intermediate_size, config.num_experts)


QWEN3_MOE = Family("qwen3_moe", "Qwen3-MoE", shape=_shape, output=MoeModelOutputWithPast)
