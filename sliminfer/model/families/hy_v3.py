"""Hunyuan 3: experts behind the first layers, queries and keys normed head by head."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

HY_V3 = Family("hy_v3", "Hunyuan 3", shape=counted, output=MoeModelOutputWithPast)
