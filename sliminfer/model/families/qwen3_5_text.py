"""Qwen3.5 and 3.6: three layers of a gated delta rule to one that attends, whose queries come with a gate."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

QWEN3_5_TEXT = Family("qwen3_5_text", "Qwen3.5", gated_queries=True, shape=counted)
