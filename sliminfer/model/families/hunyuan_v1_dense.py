"""Hunyuan: queries and keys are normed after they were rotated."""

from sliminfer.model.families.base import Family

HUNYUAN_V1_DENSE = Family(
    "hunyuan_v1_dense", "Hunyuan", query_norm="query_layernorm", key_norm="key_layernorm", normed="rotated"
)
