"""dots.llm1: experts behind the first layers, queries and keys normed head by head."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

DOTS1 = Family("dots1", "dots.llm1", shape=counted, output=MoeModelOutputWithPast)
