"""Solar Open: experts, and one that every token passes."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

SOLAR_OPEN = Family("solar_open", "Solar Open", shape=counted, output=MoeModelOutputWithPast)
