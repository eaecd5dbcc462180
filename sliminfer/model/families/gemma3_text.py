"""Gemma 3: five layers with a window, and angles of their own, to one that sees everything."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted
from sliminfer.model.families.gemma2 import logit_cap

GEMMA3_TEXT = Family("gemma3_text", "Gemma 3", logit_cap=logit_cap, shape=counted)
