"""What sets one decoder family of transformers apart, as far as the layer loop and its arithmetic must know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import ModelOutput

from sliminfer.schedule.shapes import ModelShape

# Where queries and keys are normed, in a layer that has modules for it: each head before rotation, as
# [1, tokens, heads, head_dim] or as [1, heads, tokens, head_dim]; all heads as one vector; each head after rotation.
QueryNorm = Literal["heads", "rows", "width", "rotated"]


def one(config: Any) -> float:
    """The factor of families without one."""
    return 1.0


def always(attention: Any) -> bool:
    """The answer of families whose every layer rotates."""
    return True


@dataclass(frozen=True)
class Family:
    """One family. What is left out is as in Llama.

    Attributes:
        model_type: transformers' name of it, in configs and module paths.
        label: as people call it.
        fused: prefix of its class names where the fused steps of `model.fused` are its layers' own; None where each
            layer runs its own forward.
        input_norm: the norm of a layer through which hidden states pass on the way to attention, None for none.
        query_norm, key_norm: the attention's modules that norm queries and keys; one without them norms nothing.
        normed: where these are applied.
        rotates: whether an attention module rotates queries and keys.
        shape: the dimensions in a config; raises ModelError for those that cannot be counted.
        embedding_scale, logit_scale: what a config multiplies embeddings and logits by.
        output: what its decoder returns.
    """

    model_type: str
    label: str
    fused: str | None = None
    input_norm: str | None = "input_layernorm"
    query_norm: str = "q_norm"
    key_norm: str = "k_norm"
    normed: QueryNorm = "heads"
    rotates: Callable[[Any], bool] = always
    shape: Callable[[Any], ModelShape] = ModelShape.of
    embedding_scale: Callable[[Any], float] = one
    logit_scale: Callable[[Any], float] = one
    output: type[ModelOutput] = BaseModelOutputWithPast
