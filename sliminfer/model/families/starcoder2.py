"""StarCoder2: LayerNorm, biases, an MLP without a gate."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.two_matrices import ungated

STARCODER2 = Family("starcoder2", "StarCoder2", shape=ungated)
