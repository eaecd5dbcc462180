"""LFM2: short convolutions among layers that attend, other names of norms."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted

LFM2 = Family(
    "lfm2",
    "LFM2",
    input_norm="operator_norm",
    last_norm="embedding_norm",
    query_norm="q_layernorm",
    key_norm="k_layernorm",
    shape=counted,
)
