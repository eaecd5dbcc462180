"""Qwen2 and Qwen2.5: queries, keys and values have biases."""

from sliminfer.model.families.base import Family

QWEN2 = Family("qwen2", "Qwen2 and Qwen2.5", fused="Qwen2")
