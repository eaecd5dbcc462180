"""OLMo 3: as OLMo 2, with a window in three of four layers, and angles of their own."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

OLMO3 = Family("olmo3", "OLMo 3", input_norm=None, normed="width", shape=counted)
