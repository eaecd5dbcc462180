"""Qwen2-MoE: experts in every layer, and one that every token passes."""

from __future__ import annotations

from typing import Any

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.experts import mixture
from sliminfer.schedule.shapes import ModelShape


def _shape(config: Any) -> ModelShape:
    return mixture(config, config.moe_intermediate_size, config.num_experts, config.shared_expert_intermediate_size)


QWEN2_MOE = Family("qwen2_moe", "Qwen2-MoE", shape=_shape, output=MoeModelOutputWithPast)
