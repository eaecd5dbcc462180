"""The FLOP and KV-byte arithmetic of a prefill: what a schedule promises before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sliminfer.schedule.shapes import LayerShape, ModelShape
from sliminfer.schedule.sight import Chunk


class Scoring(NamedTuple):
    """One scoring of the tokens before a prune layer.

    Attributes:
        queries, keys: rows and columns of the scores.
        projected: whether the keys were projected for it, as those of a layer yet to run are.
    """

    queries: int
    keys: int
    projected: bool = False


class LayerRead(NamedTuple):
    """What one layer that reads sparsely computes, for each query head.

    Attributes:
        pairs: of a query and a key.
        scored: products of head_dim width to choose the blocks by.
    """

    pairs: float
    scored: float


def prefill_flops(
    shape: ModelShape,
    tokens_per_layer: Sequence[int],
    scored: Sequence[Scoring] = (),
    read: Mapping[int, LayerRead] = MappingProxyType({}),
) -> float:
    """FLOPs of a prefill in which layer i runs over `tokens_per_layer[i]` tokens, up to the first token's logits.

    Counted: `layer_flops` of each layer but the last; of that the projections of all tokens and the rest for the
    last token alone, which is all that is run; the head for the last token, and scoring, its projections included.
    A layer that runs by its own forward, not by fused steps, runs whole, the last one too.

    Args:
        read: for the layer runs that attend to chosen blocks only, what they compute instead of causal attention.
    """
    *before, last = tokens_per_layer
    again = len(tokens_per_layer) - shape.layers  # a method with two passes runs some layers twice
    run = [shape.layer(index if index < again else index - again) for index in range(len(tokens_per_layer))]
    end = run[-1]
    total = 2.0 * shape.hidden * shape.vocab + sum(layer_flops(*each) for each in zip(run, before, strict=False))
    if shape.fused:
        projections = shape.hidden * (end.query_width + 2 * end.kv_width)
        total += 2.0 * projections * last + 2.0 * (end.passed - projections)
        total += 4.0 * end.query_width * min(last, end.window or last)
    else:
        total += layer_flops(end, last)
    for queries, keys, projected in scored:
        total += 2.0 * shape.query_width * queries * (keys + shape.hidden)
        total += 2.0 * shape.hidden * shape.kv_width * keys if projected else 0.0
    return total + sum(_instead(run[which], tokens_per_layer[which], instead) for which, instead in read.items())


def read_flops(
    shape: ModelShape, tokens: int, layers: int, read: Mapping[int, LayerRead] = MappingProxyType({})
) -> float:
    """FLOPs of reading `tokens` tokens in the first `layers` layers, which fall away from `prefill_flops` later.

    Args:
        read: for the layers that attend to chosen blocks only, what they compute instead of causal attention.
    """
    saved = sum(layer_flops(shape.layer(index), tokens) for index in range(layers))
    saved += sum(_instead(shape.layer(index), tokens, instead) for index, instead in read.items())
    if layers < shape.layers or not shape.fused:
        return saved
    end = shape.layer(shape.layers - 1)
    projections = shape.hidden * (end.query_width + 2 * end.kv_width)
    return saved - layer_flops(end, tokens) + 2.0 * projections * tokens


def _instead(layer: LayerShape, tokens: int, read: LayerRead) -> float:
    """What a layer of `tokens` tokens computes more, or less, where it attends to chosen blocks only."""
    pairs = read.pairs - visible_pairs(tokens, layer.window)
    return 4.0 * layer.query_width * pairs + 2.0 * layer.query_width * read.scored


def layer_flops(layer: LayerShape, tokens: int) -> float:
    """FLOPs of one layer over `tokens` tokens: its matrices (2 per weight and token) and causal attention (4 per
    head dimension and visible pair). Of tokens that others were dropped between, a window may hold fewer: then it is
    the most that it can be."""
    return (2.0 * layer.passed + layer.mixing) * tokens + 4.0 * layer.query_width * visible_pairs(tokens, layer.window)


def visible_pairs(tokens: int, window: int | None) -> float:
    """Pairs of a query and a key that it sees, of `tokens` tokens."""
    if isinstance(window, Chunk):
        whole, rest = divmod(tokens, int(window))
        return whole * window * (window + 1) / 2 + rest * (rest + 1) / 2
    reach = tokens if window is None else min(window, tokens)
    return reach * (reach + 1) / 2 + float(tokens - reach) * reach


def stock_flops(shape: ModelShape, tokens: int) -> float:
    """FLOPs of a stock prefill up to the first token's logits: every layer whole, the head for the last token."""
    layers = sum(layer_flops(shape.layer(index), tokens) for index in range(shape.layers))
    return 2.0 * shape.hidden * shape.vocab + layers


def kv_bytes(shape: ModelShape, tokens_per_layer: Sequence[int], bytes_per_value: int) -> int:
    """Bytes of keys and values when layer i holds `tokens_per_layer[i]` tokens, those beyond a window included."""
    widths = (shape.layer(index).kv_width for index in range(shape.layers))
    return sum(2 * width * tokens * bytes_per_value for width, tokens in zip(widths, tokens_per_layer, strict=True))
