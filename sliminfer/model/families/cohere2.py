"""Command R7B and A: as Command R, with windows in three of four layers, which alone rotate."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

COHERE2 = Family(
    "cohere2",
    "Command R7B and A",
    rotates=lambda attention: attention.sliding_window is not None,
    logit_scale=lambda config: float(config.logit_scale),
    shape=counted,
)
