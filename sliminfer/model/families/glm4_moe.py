"""GLM-4.5 to 4.7: experts behind the first layers, and one that every token passes."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

GLM4_MOE = Family("glm4_moe", "GLM-4.5", shape=counted, output=MoeModelOutputWithPast)
