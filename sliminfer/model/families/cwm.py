"""Code World Model: windows in three of four layers."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

CWM = Family("cwm", "Code World Model", shape=counted)
