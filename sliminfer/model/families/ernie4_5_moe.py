"""Ernie 4.5 with experts in most of its layers."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

ERNIE4_5_MOE = Family("ernie4_5_moe", "Ernie 4.5 MoE", shape=counted, output=MoeModelOutputWithPast)
