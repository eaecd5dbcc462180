"""Nemotron: LayerNorm, a part of each head that is not rotated, an MLP without a gate."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.two_matrices import ungated

NEMOTRON = Family("nemotron", "Nemotron", shape=ungated)
