"""Block scores: how much attention the local queries would give to each block, without the attention matrix.

One layer's, or those of two layers over the same tokens in the same two launches.

Two passes over the unit keys, in the base-2 logarithm. The first finds each query row's softmax mass over all
units, split over programs; the second recomputes the logits, divides by the mass and reduces over the rows. A
block has the score of its best unit. The query heads of one KV head are packed into one row dimension, so keys
are read once per pass and never repeated. The maximum over a block is an atomic integer maximum on
non-negative floats, whose result does not depend on the order.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

# Programs wanted in the first pass: two for each multiprocessor of an H100.
_PROGRAMS = 264
_MOST_SPLITS = 32


@triton.jit
def unit_logits(
    query,
    keys,
    unit,
    row,
    rows,
    window,
    units,
    tokens,
    unit_size,
    scale_log2,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Base-2 logits `[ROWS, UNITS]`, -inf where the unit is hidden from the row."""
    logits = tl.dot(query, tl.trans(keys), input_precision=PRECISION) * scale_log2
    seen = (row[:, None] < rows) & (unit[None, :] < units)
    if CAUSAL:
        position = tokens - window + row % window
        last = tl.minimum((unit + 1) * unit_size, tokens) - 1
        seen = seen & (last[None, :] <= position[:, None])
    return tl.where(seen, logits, float("-inf"))


@triton.jit
def layer_of(
    place, kv_heads, query_ptr, keys_ptr, head_stride, unit_stride, next_query_ptr, next_keys_ptr, next_head_stride,
    next_unit_stride,
):  # fmt: skip
    """The queries, keys and strides of the layer whose KV head, counted over both layers, is `place`."""
    if place >= kv_heads:
        query_ptr = next_query_ptr
        keys_ptr = next_keys_ptr
        head_stride = next_head_stride
        unit_stride = next_unit_stride
    return query_ptr, keys_ptr, head_stride, unit_stride


@triton.jit
def query_places(head, row, column, rows, window, query_head_stride, query_stride):
    """Offsets of the packed rows of one KV head: its query heads one after the other, each with its window."""
    query_head = head * (rows // window) + row // window
    return query_head[:, None] * query_head_stride + (row % window)[:, None] * query_stride + column[None, :]


@triton.jit(do_not_specialize=["rows", "window", "units", "tokens", "units_per_split", "blocks", "kv_heads"])
def mass_kernel(
    query_ptr,
    keys_ptr,
    head_stride,
    unit_stride,
    next_query_ptr,
    next_keys_ptr,
    next_head_stride,
    next_unit_stride,
    best_ptr,
    mass_ptr,
    out_ptr,
    rows,
    window,
    units,
    tokens,
    unit_size,
    head_dim,
    kv_heads,
    query_head_stride,
    query_stride,
    blocks,
    units_per_split,
    scale_log2,
    MEAN: tl.constexpr,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    DIM: tl.constexpr,
):
    tile = tl.program_id(0)
    split = tl.program_id(1)
    place = tl.program_id(2).to(tl.int64)
    head = place % kv_heads
    query_ptr, keys_ptr, head_stride, unit_stride = layer_of(
        place, kv_heads, query_ptr, keys_ptr, head_stride, unit_stride, next_query_ptr, next_keys_ptr,
        next_head_stride, next_unit_stride,
    )  # fmt: skip
    if not MEAN:
        # The second pass raises what it finds: one program of each layer clears it.
        cleared = tl.where((tile == 0) & (split == 0) & (head == 0), blocks, 0)
        for start in range(0, cleared, 256):
            block = start + tl.arange(0, 256)
            zeros = tl.zeros((256,), dtype=tl.int32)
            tl.store(out_ptr + place // kv_heads * blocks + block, zeros, mask=block < blocks)
    row = tile * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, DIM)
    live = column[None, :] < head_dim
    query = tl.load(
        query_ptr + query_places(head, row, column, rows, window, query_head_stride, query_stride),
        mask=(row[:, None] < rows) & live,
        other=0.0,
    )
    best = tl.full((ROWS,), float("-inf"), dtype=tl.float32)
    mass = tl.zeros((ROWS,), dtype=tl.float32)
    first = split * units_per_split
    for start in range(first, tl.minimum(first + units_per_split, units), UNITS):
        unit = start + tl.arange(0, UNITS)
        keys = tl.load(
            keys_ptr + head * head_stride + unit[:, None].to(tl.int64) * unit_stride + column[None, :],
            mask=(unit[:, None] < units) & live,
            other=0.0,
        )
        logits = unit_logits(
            query, keys, unit, row, rows, window, units, tokens, unit_size, scale_log2, CAUSAL, PRECISION
        )
        peak = tl.maximum(best, tl.max(logits, axis=1))
        base = tl.where(peak == float("-inf"), 0.0, peak)
        mass = mass * tl.exp2(best - base) + tl.sum(tl.exp2(logits - base[:, None]), axis=1)
        best = peak
    found = (place * tl.num_programs(1) + split) * rows + row
    tl.store(best_ptr + found, best, mask=row < rows)
    tl.store(mass_ptr + found, mass, mask=row < rows)


@triton.jit(do_not_specialize=["rows", "window", "units", "tokens", "splits", "blocks", "kv_heads"])
def score_kernel(
    query_ptr,
    keys_ptr,
    head_stride,
    unit_stride,
    next_query_ptr,
    next_keys_ptr,
    next_head_stride,
    next_unit_stride,
    best_ptr,
    mass_ptr,
    out_ptr,
    rows,
    window,
    units,
    tokens,
    unit_size,
    head_dim,
    kv_heads,
    query_head_stride,
    query_stride,
    blocks,
    owner_ptr,
    owner_step,
    owner_size,
    splits,
    scale_log2,
    MEAN: tl.constexpr,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    DIM: tl.constexpr,
    SPLITS: tl.constexpr,
):
    place = tl.program_id(1).to(tl.int64)
    head = place % kv_heads
    query_ptr, keys_ptr, head_stride, unit_stride = layer_of(
        place, kv_heads, query_ptr, keys_ptr, head_stride, unit_stride, next_query_ptr, next_keys_ptr,
        next_head_stride, next_unit_stride,
    )  # fmt: skip
    unit = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    column = tl.arange(0, DIM)
    live = column[None, :] < head_dim
    keys = tl.load(
        keys_ptr + head * head_stride + unit[:, None].to(tl.int64) * unit_stride + column[None, :],
        mask=(unit[:, None] < units) & live,
        other=0.0,
    )
    part = tl.arange(0, SPLITS)[:, None]
    score = tl.zeros((UNITS,), dtype=tl.float32)
    for start in range(0, rows, ROWS):
        row = start + tl.arange(0, ROWS)
        query = tl.load(
            query_ptr + query_places(head, row, column, rows, window, query_head_stride, query_stride),
            mask=(row[:, None] < rows) & live,
            other=0.0,
        )
        found = (place * splits + part) * rows + row[None, :]
        held = (part < splits) & (row[None, :] < rows)
        best = tl.load(best_ptr + found, mask=held, other=float("-inf"))
        mass = tl.load(mass_ptr + found, mask=held, other=0.0)
        peak = tl.max(best, axis=0)
        base = tl.where(peak == float("-inf"), 0.0, peak)
        total = tl.sum(mass * tl.exp2(best - base[None, :]), axis=0)
        # False for NaN, too: such a row contributes nothing.
        usable = (total > 0.0) & (total < float("inf"))
        whole = base + tl.log2(tl.where(usable, total, 1.0))
        logits = unit_logits(
            query, keys, unit, row, rows, window, units, tokens, unit_size, scale_log2, CAUSAL, PRECISION
        )
        share = tl.where(usable[:, None], tl.exp2(logits - whole[:, None]), 0.0)
        if MEAN:
            score += tl.sum(share, axis=0)
        else:
            score = tl.maximum(score, tl.max(share, axis=0))
    inside = unit < units
    if MEAN:
        tl.store(out_ptr + place * units + unit, score, mask=inside)
    else:
        block = tl.load(owner_ptr + unit * owner_step, mask=inside, other=0) // owner_size
        raised = out_ptr + place // kv_heads * blocks + block
        tl.atomic_max(raised, score.to(tl.int32, bitcast=True), mask=inside, sem="relaxed")


@cache
def launch_config(rows: int, head_dim: int, dtype: torch.dtype) -> dict[str, int | str]:
    """Tiles and warps of both passes.

    64 rows fill Hopper's matrix unit when the window is wide; one decoded query of a group needs 16. fp32 keys
    go through the exact multiply-add path, which holds its operands in registers and so wants small tiles.
    """
    width = max(16, triton.next_power_of_2(head_dim))
    if dtype == torch.float32:
        return {
            "ROWS": 16, "UNITS": 32, "DIM": width, "PRECISION": "ieee", "num_warps": 8, "num_stages": 1,
        }  # fmt: skip
    tile = 16 if rows <= 16 else 32 if rows <= 32 else 64
    return {"ROWS": tile, "UNITS": 64, "DIM": width, "PRECISION": "ieee", "num_warps": 4, "num_stages": 3}


def block_scores(
    queries: Tensor,
    keys: Tensor,
    unit_to_block: Tensor,
    blocks: int,
    scale: float,
    aggregate: str,
    unit_size: int = 1,
    tokens: int | None = None,
) -> Tensor:
    """`reference.block_scores` on the device of `keys`."""
    owner = unit_to_block, 1, 1
    return _scores([(queries, keys)], owner, blocks, scale, aggregate, unit_size, tokens)[0]


def layer_scores(
    alive: Tensor,
    layers: Sequence[tuple[Tensor, Tensor]],
    blocks: int,
    block_size: int,
    scale: float,
    aggregate: str,
    unit_size: int = 1,
) -> Tensor:
    """`reference.layer_scores` of one or two layers on the device of `alive`."""
    owner = alive, unit_size, block_size
    return _scores(layers, owner, blocks, scale, aggregate, unit_size, len(alive))


def _scores(
    layers: Sequence[tuple[Tensor, Tensor]],
    owner: tuple[Tensor, int, int],
    blocks: int,
    scale: float,
    aggregate: str,
    unit_size: int,
    tokens: int | None,
) -> Tensor:
    """Scores by each of the layers, fp32 [layers, blocks]; unit u belongs to block `owner[0][u * step] // size`."""
    (queries, keys), *others = layers
    if any(q.shape != queries.shape or k.shape != keys.shape or k.dtype != keys.dtype for q, k in others):
        raise ValueError("Layers that are scored together have queries and keys of one form.")
    q_heads, window, head_dim = queries.shape
    kv_heads, units, _ = keys.shape
    rows = q_heads // kv_heads * window
    device = keys.device
    if units == 0:
        return torch.zeros(len(layers), blocks, device=device)
    if any(q.stride() != queries.stride() or q.stride(-1) != 1 for q, _ in layers):
        layers = [(q.contiguous(), k) for q, k in layers]
    layers = [(q, k if k.stride(-1) == 1 else k.contiguous()) for q, k in layers]
    config = launch_config(rows, head_dim, keys.dtype)
    tile_rows, tile_units = int(config["ROWS"]), int(config["UNITS"])

    row_tiles = triton.cdiv(rows, tile_rows)
    unit_tiles = triton.cdiv(units, tile_units)
    heads = len(layers) * kv_heads
    wanted = min(_MOST_SPLITS, unit_tiles, max(1, _PROGRAMS // (heads * row_tiles)))
    units_per_split = triton.cdiv(unit_tiles, wanted) * tile_units
    splits = triton.cdiv(units, units_per_split)

    mean = aggregate == "mean"
    best = torch.empty(2, heads, splits, rows, device=device)
    if mean:
        out = torch.empty(heads, units, device=device)
    else:
        out = torch.empty(len(layers), blocks, dtype=torch.int32, device=device)
    named = [part for q, k in (layers[0], layers[-1]) for part in (q, k, k.stride(0), k.stride(1))]
    first = layers[0][0]
    shared = (
        *named, best[0], best[1], out, rows, window, units, tokens or 0, unit_size, head_dim, kv_heads,
        first.stride(0), first.stride(1), blocks,
    )  # fmt: skip
    scale_log2 = scale * math.log2(math.e)
    kinds = {"MEAN": mean, "CAUSAL": tokens is not None, **config}
    mass_kernel[(row_tiles, splits, heads)](*shared, units_per_split, scale_log2, **kinds)
    score_kernel[(unit_tiles, heads)](
        *shared, *owner, splits, scale_log2, SPLITS=triton.next_power_of_2(splits), **kinds
    )
    if not mean:
        return out.view(torch.float32)
    per_unit = out.view(len(layers), kv_heads, units).sum(1).div_(q_heads * window)
    ids, step, size = owner
    unit_to_block = (ids[::step] // size).expand(len(layers), -1)
    return torch.zeros(len(layers), blocks, device=device).scatter_reduce_(1, unit_to_block, per_unit, "amax")
