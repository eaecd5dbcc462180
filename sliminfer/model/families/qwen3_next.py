"""Qwen3-Next: three layers of a gated delta rule to one that attends, with experts."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

QWEN3_NEXT = Family("qwen3_next", "Qwen3-Next", gated_queries=True, shape=counted, output=MoeModelOutputWithPast)
