"""The FLOP and KV-byte arithmetic of a prefill: what a schedule promises before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sliminfer.schedule.shapes import ModelShape


class Scoring(NamedTuple):
    """One scoring of the tokens before a prune layer.

    Attributes:
        queries, keys: rows and columns of the scores.
        projected: whether the keys were projected for it, as those of a layer yet to run are.
    """

    queries: int
    keys: int
    projected: bool = False


def prefill_flops(shape: ModelShape, tokens_per_layer: Sequence[int], scored: Sequence[Scoring] = ()) -> float:
    """FLOPs of a prefill in which layer i runs over `tokens_per_layer[i]` tokens, up to the first token's logits.

    Counted: `layer_flops` of each layer but the last; of that the projections of all tokens and the rest for the
    last token alone, which is all that is run; the head for the last token, and scoring, its projections included.
    A layer that runs by its own forward, not by fused steps, runs whole, the last one too.
    """
    *before, last = tokens_per_layer
    projections = shape.hidden * (shape.query_width + 2 * shape.kv_width)
    total = 2.0 * shape.hidden * shape.vocab + sum(layer_flops(shape, tokens) for tokens in before)
    if shape.fused:
        total += 2.0 * projections * last + 2.0 * (shape.layer_matrix_params - projections)
        total += 4.0 * shape.query_width * last
    else:
        total += layer_flops(shape, last)
    for queries, keys, projected in scored:
        total += 2.0 * shape.query_width * queries * (keys + shape.hidden)
        total += 2.0 * shape.hidden * shape.kv_width * keys if projected else 0.0
    return total


def read_flops(shape: ModelShape, tokens: int, layers: int) -> float:
    """What of `prefill_flops` falls away where `layers` layers have read the first `tokens` tokens before."""
    saved = layers * layer_flops(shape, tokens)
    if layers < shape.layers or not shape.fused:
        return saved
    projections = shape.hidden * (shape.query_width + 2 * shape.kv_width)
    return saved - layer_flops(shape, tokens) + 2.0 * projections * tokens


def layer_flops(shape: ModelShape, tokens: int) -> float:
    """FLOPs of one layer over `tokens` tokens: its matrices (2 per weight and token) and causal attention (4 per
    head dimension and visible pair)."""
    return 2.0 * shape.layer_matrix_params * tokens + 4.0 * shape.query_width * tokens * (tokens + 1) / 2


def stock_flops(shape: ModelShape, tokens: int) -> float:
    """FLOPs of a stock prefill up to the first token's logits: every layer whole, the head for the last token."""
    return 2.0 * shape.hidden * shape.vocab + shape.layers * layer_flops(shape, tokens)


def kv_bytes(shape: ModelShape, tokens_per_layer: Sequence[int], bytes_per_value: int) -> int:
    """Bytes of keys and values when layer i holds `tokens_per_layer[i]` tokens."""
    return sum(2 * shape.kv_width * tokens * bytes_per_value for tokens in tokens_per_layer)
