"""EXAONE MoE: as EXAONE 4 in its windows and angles, with experts."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted
from sliminfer.model.families.exaone4 import rotates

EXAONE_MOE = Family("exaone_moe", "EXAONE MoE", rotates=rotates, shape=counted, output=MoeModelOutputWithPast)
