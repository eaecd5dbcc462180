"""Arcee: an MLP without a gate."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.two_matrices import ungated

ARCEE = Family("arcee", "Arcee", shape=ungated)
