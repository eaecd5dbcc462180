"""OLMo 2: no norm before attention, queries and keys normed over their whole width."""

from sliminfer.model.families.base import Family

OLMO2 = Family("olmo2", "OLMo 2", input_norm=None, normed="width")
