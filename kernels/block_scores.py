"""Block scores: how much attention the local queries would give to each block, without the attention matrix.

Two passes over the unit keys, in the base-2 logarithm. The first finds each query row's softmax mass over all
units, split over programs; the second recomputes the logits, divides by the mass and reduces over the rows. A
block has the score of its best unit. The query heads of one KV head are packed into one row dimension, so keys
are read once per pass and never repeated. The maximum over a block is an atomic integer maximum on
non-negative floats, whose result does not depend on the order.
"""

import math
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


@triton.jit(do_not_specialize=["rows", "window", "units", "tokens", "units_per_split"])
def mass_kernel(
    query_ptr,
    keys_ptr,
    best_ptr,
    mass_ptr,
    rows,
    window,
    units,
    tokens,
    unit_size,
    head_dim,
    head_stride,
    unit_stride,
    units_per_split,
    scale_log2,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    DIM: tl.constexpr,
):
    tile = tl.program_id(0)
    split = tl.program_id(1)
    head = tl.program_id(2).to(tl.int64)
    row = tile * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, DIM)
    live = column[None, :] < head_dim
    query = tl.load(
        query_ptr + (head * rows + row[:, None]) * head_dim + column[None, :],
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
    place = (head * tl.num_programs(1) + split) * rows + row
    tl.store(best_ptr + place, best, mask=row < rows)
    tl.store(mass_ptr + place, mass, mask=row < rows)


@triton.jit(do_not_specialize=["rows", "window", "units", "tokens", "splits"])
def score_kernel(
    query_ptr,
    keys_ptr,
    best_ptr,
    mass_ptr,
    block_ptr,
    out_ptr,
    rows,
    window,
    units,
    tokens,
    unit_size,
    head_dim,
    head_stride,
    unit_stride,
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
    head = tl.program_id(1).to(tl.int64)
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
            query_ptr + (head * rows + row[:, None]) * head_dim + column[None, :],
            mask=(row[:, None] < rows) & live,
            other=0.0,
        )
        place = (head * splits + part) * rows + row[None, :]
        held = (part < splits) & (row[None, :] < rows)
        best = tl.load(best_ptr + place, mask=held, other=float("-inf"))
        mass = tl.load(mass_ptr + place, mask=held, other=0.0)
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
        tl.store(out_ptr + head * units + unit, score, mask=inside)
    else:
        block = tl.load(block_ptr + unit, mask=inside, other=0)
        tl.atomic_max(out_ptr + block, score.to(tl.int32, bitcast=True), mask=inside, sem="relaxed")


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
    q_heads, window, head_dim = queries.shape
    kv_heads, units, _ = keys.shape
    rows = q_heads // kv_heads * window
    device = keys.device
    if units == 0:
        return torch.zeros(blocks, device=device)
    queries = queries.contiguous()
    if keys.stride(-1) != 1:
        keys = keys.contiguous()
    config = launch_config(rows, head_dim, keys.dtype)
    tile_rows, tile_units = int(config["ROWS"]), int(config["UNITS"])

    row_tiles = triton.cdiv(rows, tile_rows)
    unit_tiles = triton.cdiv(units, tile_units)
    wanted = min(_MOST_SPLITS, unit_tiles, max(1, _PROGRAMS // (kv_heads * row_tiles)))
    units_per_split = triton.cdiv(unit_tiles, wanted) * tile_units
    splits = triton.cdiv(units, units_per_split)

    best = torch.empty(2, kv_heads, splits, rows, device=device)
    shared = (rows, window, units, tokens or 0, unit_size, head_dim, keys.stride(0), keys.stride(1))
    scale_log2 = scale * math.log2(math.e)
    mass_kernel[(row_tiles, splits, kv_heads)](
        queries, keys, best[0], best[1], *shared, units_per_split, scale_log2, CAUSAL=tokens is not None, **config
    )
    mean = aggregate == "mean"
    if mean:
        out = torch.empty(kv_heads, units, device=device)
    else:
        out = torch.zeros(blocks, dtype=torch.int32, device=device)
    score_kernel[(unit_tiles, kv_heads)](
        queries,
        keys,
        best[0],
        best[1],
        unit_to_block,
        out,
        *shared,
        splits,
        scale_log2,
        MEAN=mean,
        CAUSAL=tokens is not None,
        SPLITS=triton.next_power_of_2(splits),
        **config,
    )
    if not mean:
        return out.view(torch.float32)
    per_unit = out.sum(0).div_(q_heads * window)
    return torch.zeros(blocks, device=device).scatter_reduce_(0, unit_to_block, per_unit, "amax")
