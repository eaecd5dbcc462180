"""Apertus: queries and keys normed head by head, other names of norms, an MLP without a gate."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.two_matrices import ungated

APERTUS = Family("apertus", "Apertus", input_norm="attention_layernorm", shape=ungated)
