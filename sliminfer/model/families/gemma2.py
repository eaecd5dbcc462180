"""Gemma 2: every other layer has a window, scores and logits are capped, norms after attention and MLP as well."""

from __future__ import annotations

from typing import Any

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted
from sliminfer.ops.softmax import Softmax


def softmax(attention: Any) -> Softmax:
    """A cap on the scores."""
    return Softmax(cap=attention.attn_logit_softcapping)


def logit_cap(config: Any) -> float | None:
    """The cap of a config's logits."""
    return None if config.final_logit_softcapping is None else float(config.final_logit_softcapping)


GEMMA2 = Family(
    "gemma2",
    "Gemma 2",
    backends=("flash_attention_2",),
    softmax=softmax,
    logit_cap=logit_cap,
    shape=counted,
)
