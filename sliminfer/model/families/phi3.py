"""Phi-3: one matrix for queries, keys and values, one for gate and up, and a part of each head that is not rotated."""

from sliminfer.model.families.base import Family

PHI3 = Family("phi3", "Phi-3", fused="Phi3")
