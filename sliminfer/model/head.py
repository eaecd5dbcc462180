"""From a decoder's normed states to logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sliminfer.model.families import text_config
from sliminfer.model.recognise import family_of
from sliminfer.ops.linear import linear


def logits_of(model: Any, states: Tensor) -> Tensor:
    """Logits [..., vocabulary] of `model` for normed states [..., hidden], with the family's own scale and cap."""
    logits = linear(model.get_output_embeddings(), states)
    family = family_of(model.config)
    config = text_config(model.config)
    scale, cap = family.logit_scale(config), family.logit_cap(config)
    logits = logits if scale == 1.0 else logits * scale
    return logits if cap is None else (logits / cap).tanh() * cap
