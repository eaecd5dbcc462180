"""FlexOlmo: as OLMo 2, with experts."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

FLEX_OLMO = Family(
    "flex_olmo", "FlexOlmo", input_norm=None, normed="width", shape=counted, output=MoeModelOutputWithPast
)
