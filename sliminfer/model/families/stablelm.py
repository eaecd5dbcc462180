"""StableLM: LayerNorm, a part of each head that is not rotated, attention and MLP side by side in some models."""

from sliminfer.model.families.base import Family

STABLELM = Family("stablelm", "StableLM", query_norm="q_layernorm", key_norm="k_layernorm", normed="rows")
