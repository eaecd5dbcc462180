"""MiniMax-M2: experts, queries and keys normed over their whole width, a part of each head that is not rotated."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

MINIMAX_M2 = Family("minimax_m2", "MiniMax-M2", normed="width", shape=counted, output=MoeModelOutputWithPast)
