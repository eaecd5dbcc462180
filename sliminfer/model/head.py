"""From a decoder's normed states to logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sliminfer.model.families import family_of
from sliminfer.ops.linear import linear


def logits_of(model: Any, states: Tensor) -> Tensor:
    """Logits [..., vocabulary] of `model` for normed states [..., hidden], with the family's own scale."""
    logits = linear(model.get_output_embeddings(), states)
    scale = family_of(model.config).logit_scale(model.config)
    return logits if scale == 1.0 else logits * scale
