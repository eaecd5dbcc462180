"""Granite: embeddings, scores, residuals and logits have scales of their own."""

from __future__ import annotations

from typing import Any

from sliminfer.model.families.base import Family


def embedding_scale(config: Any) -> float:
    """What embeddings are multiplied by."""
    return float(config.embedding_multiplier)


def logit_scale(config: Any) -> float:
    """What logits are multiplied by."""
    return 1.0 / float(config.logits_scaling)


GRANITE = Family("granite", "Granite", embedding_scale=embedding_scale, logit_scale=logit_scale)
