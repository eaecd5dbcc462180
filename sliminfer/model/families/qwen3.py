"""Qwen3: queries and keys are normed head by head."""

from sliminfer.model.families.base import Family

QWEN3 = Family("qwen3", "Qwen3", fused="Qwen3")
