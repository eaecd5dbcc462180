"""What sets one decoder family of transformers apart, as far as the layer loop and its arithmetic must know."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import ModelOutput

from sliminfer.ops.softmax import PLAIN, Softmax
from sliminfer.schedule.shapes import ModelShape

# Where queries and keys are normed, in a layer that has modules for it: each head before rotation, as
# [1, tokens, heads, head_dim] or as [1, heads, tokens, head_dim]; all heads as one vector; each head after rotation.
QueryNorm = Literal["heads", "rows", "width", "rotated"]


def one(config: Any) -> float:
    """The factor of families without one."""
    return 1.0


def uncapped(config: Any) -> float | None:
    """The cap of logits of families without one."""
    return None


def always(attention: Any) -> bool:
    """The answer of families whose every layer rotates."""
    return True


def plain_softmax(attention: Any) -> Softmax:
    """The softmax of families that do nothing else to scores."""
    return PLAIN


def by_rule(attention: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`states` [1, heads, tokens, head_dim] by the module's own rule: of each head as much as there are angles."""
    rule = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    turned, rest = states[..., : cos.shape[-1]], states[..., cos.shape[-1] :]
    rotated: Tensor = rule(turned, turned[:, :1], cos, sin)[0]
    return torch.cat([rotated, rest], -1) if rest.shape[-1] else rotated


@dataclass(frozen=True)
class Family:
    """One family. What is left out is as in Llama.

    Attributes:
        model_type: transformers' name of it, in configs and module paths.
        label: as people call it.
        fused: prefix of its class names where the fused steps of `model.fused` are its layers' own; None where each
            layer runs its own forward.
        backends: attention backends that it has beside "eager", by transformers' name; "flash_attention_2" stands for
            all kinds of flash.
        input_norm: the norm of a layer through which hidden states pass on the way to attention, None for none.
        last_norm: the decoder's norm after all layers.
        rotary: the decoder's module that makes angles of positions.
        query_norm, key_norm: the attention's modules that norm queries and keys; one without them norms nothing.
        normed: where these are applied.
        gated_queries: whether what projects queries gives a gate after each head's query.
        complex_angles: whether its layers take angles as complex numbers, rather than as cosines and sines.
        rotates: whether an attention module rotates queries and keys.
        rotate: queries or keys of one layer, rotated; see `by_rule`.
        temperature: what queries at positions int64 [n] are multiplied by after rotation [n], None for nothing. Its
            layers are told the positions that their tokens are rotated by.
        placed: what its layers are given for their cache (None for nothing) and the positions of their tokens, int64
            [n], where they count positions from it; None where they do not.
        softmax: what an attention module does to its scores.
        shape: the dimensions in a config; raises ModelError for those that cannot be counted.
        embedding_scale, logit_scale: what a config multiplies embeddings and logits by.
        logit_cap: logits are bent to `cap * tanh(logit / cap)`, None for no cap.
        output: makes what its decoder returns.
        tested: whether it was found by a self-test, rather than described by a file.
        check: raises ModelError for a config of this family that the layer loop cannot run.
    """

    model_type: str
    label: str
    fused: str | None = None
    backends: tuple[str, ...] = ("flash_attention_2", "sdpa")
    input_norm: str | None = "input_layernorm"
    last_norm: str = "norm"
    rotary: str = "rotary_emb"
    query_norm: str = "q_norm"
    key_norm: str = "k_norm"
    normed: QueryNorm = "heads"
    gated_queries: bool = False
    complex_angles: bool = False
    rotates: Callable[[Any], bool] = always
    rotate: Callable[[Any, Tensor, Tensor, Tensor], Tensor] = by_rule
    temperature: Callable[[Any, Tensor], Tensor] | None = None
    placed: Callable[[Cache | None, Tensor], Any] | None = None
    softmax: Callable[[Any], Softmax] = plain_softmax
    shape: Callable[[Any], ModelShape] = ModelShape.of
    embedding_scale: Callable[[Any], float] = one
    logit_scale: Callable[[Any], float] = one
    logit_cap: Callable[[Any], float | None] = uncapped
    output: Callable[..., ModelOutput] = BaseModelOutputWithPast
    tested: bool = False
    check: Callable[[Any], None] = lambda config: None
