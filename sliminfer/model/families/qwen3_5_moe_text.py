"""Qwen3.5 and 3.6 with experts."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

QWEN3_5_MOE_TEXT = Family(
    "qwen3_5_moe_text", "Qwen3.5 MoE", gated_queries=True, shape=counted, output=MoeModelOutputWithPast
)
