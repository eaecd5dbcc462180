"""Hunyuan with experts."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

HUNYUAN_V1_MOE = Family(
    "hunyuan_v1_moe",
    "Hunyuan MoE",
    query_norm="query_layernorm",
    key_norm="key_layernorm",
    normed="rotated",
    shape=counted,
    output=MoeModelOutputWithPast,
)
