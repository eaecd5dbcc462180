"""Attention of one decoded token over one layer's resident keys, split over the keys.

The cache keeps block slots and the tail of decoded tokens in one buffer, in any order, since keys carry their
positions. Each program takes the query heads of one KV head and a share of the tokens, and leaves its running
maximum, mass and weighted values; a second kernel merges the shares in fp32. Keys and values are read once,
where they lie, and a growing cache never makes Triton compile anew.
"""

import math
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

_TOKENS_PER_SPLIT = 256
_MOST_SPLITS = 64


@triton.jit
def attend_share(
    query_ptr,
    key_ptr,
    value_ptr,
    best_ptr,
    mass_ptr,
    total_ptr,
    split,
    head,
    tokens,
    per_split,
    group,
    head_dim,
    key_stride,
    value_stride,
    scale_log2,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    DIM: tl.constexpr,
):
    """One share of one KV head's keys, `key_ptr` and `value_ptr` being at its first token."""
    row = tl.arange(0, ROWS)
    column = tl.arange(0, DIM)[None, :]
    live = column < head_dim
    query_row = head * group + row
    query = tl.load(
        query_ptr + query_row[:, None] * head_dim + column, mask=(row[:, None] < group) & live, other=0.0
    )
    best = tl.full((ROWS,), float("-inf"), dtype=tl.float32)
    mass = tl.zeros((ROWS,), dtype=tl.float32)
    total = tl.zeros((ROWS, DIM), dtype=tl.float32)
    first = split * per_split
    for start in range(first, tl.minimum(first + per_split, tokens), TILE):
        token = start + tl.arange(0, TILE)
        place = token[:, None].to(tl.int64)
        inside = (token[:, None] < tokens) & live
        keys = tl.load(key_ptr + place * key_stride + column, mask=inside, other=0.0)
        values = tl.load(value_ptr + place * value_stride + column, mask=inside, other=0.0)
        logits = tl.dot(query, tl.trans(keys), input_precision=PRECISION) * scale_log2
        logits = tl.where(token[None, :] < tokens, logits, float("-inf"))
        peak = tl.maximum(best, tl.max(logits, axis=1))
        base = tl.where(peak == float("-inf"), 0.0, peak)
        weights = tl.exp2(logits - base[:, None])
        shrink = tl.exp2(best - base)
        mass = mass * shrink + tl.sum(weights, axis=1)
        total = total * shrink[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
        best = peak

    share = split * tl.num_programs(1) * group + query_row
    tl.store(best_ptr + share, best, mask=row < group)
    tl.store(mass_ptr + share, mass, mask=row < group)
    tl.store(total_ptr + share[:, None] * head_dim + column, total, mask=(row[:, None] < group) & live)


@triton.jit(do_not_specialize=["tokens", "per_split"])
def split_kernel(
    query_ptr,
    key_ptr,
    value_ptr,
    best_ptr,
    mass_ptr,
    total_ptr,
    tokens,
    per_split,
    group,
    head_dim,
    key_head_stride,
    key_stride,
    value_head_stride,
    value_stride,
    scale_log2,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    DIM: tl.constexpr,
):
    split = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    attend_share(
        query_ptr,
        key_ptr + head * key_head_stride,
        value_ptr + head * value_head_stride,
        best_ptr, mass_ptr, total_ptr, split, head, tokens, per_split, group, head_dim, key_stride, value_stride,
        scale_log2, PRECISION, ROWS, TILE, DIM,
    )  # fmt: skip


@triton.jit(do_not_specialize=["splits"])
def merge_kernel(
    best_ptr,
    mass_ptr,
    total_ptr,
    out_ptr,
    splits,
    head_dim,
    SPLITS: tl.constexpr,
    DIM: tl.constexpr,
):
    head = tl.program_id(0)
    heads = tl.num_programs(0)
    share = tl.arange(0, SPLITS) * heads + head
    held = tl.arange(0, SPLITS) < splits
    column = tl.arange(0, DIM)
    best = tl.load(best_ptr + share, mask=held, other=float("-inf"))
    mass = tl.load(mass_ptr + share, mask=held, other=0.0)
    totals = tl.load(
        total_ptr + share[:, None] * head_dim + column[None, :],
        mask=held[:, None] & (column[None, :] < head_dim),
        other=0.0,
    )
    peak = tl.max(best, axis=0)
    weight = tl.where(best == float("-inf"), 0.0, tl.exp2(best - peak))
    whole = tl.sum(mass * weight, axis=0)
    out = tl.sum(totals * weight[:, None], axis=0) / tl.where(whole == 0.0, 1.0, whole)
    tl.store(out_ptr + head * head_dim + column, out.to(out_ptr.dtype.element_ty), mask=column < head_dim)


@cache
def launch_config(group: int, head_dim: int, dtype: torch.dtype) -> dict[str, int | str]:
    """Tiles and warps of the split kernel; a matrix unit takes at least 16 query rows."""
    width = max(16, triton.next_power_of_2(head_dim))
    wide = dtype == torch.float32
    return {
        "ROWS": max(16, triton.next_power_of_2(group)),
        "TILE": 32 if wide else 64,
        "DIM": width,
        "PRECISION": "ieee",
        "num_warps": 8 if wide else 4,  # 4 warps spill in fp32
        "num_stages": 1 if wide else 3,
    }


@cache
def merge_config(splits: int, head_dim: int) -> dict[str, int]:
    """Tile and warps of the merge kernel."""
    return {
        "SPLITS": triton.next_power_of_2(splits),
        "DIM": triton.next_power_of_2(head_dim),
        "num_warps": 4,
        "num_stages": 1,
    }


def decode_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """`reference.decode_attention` on the device of `query`; last dimensions dense."""
    q_heads, head_dim = query.shape
    kv_heads, tokens, _ = keys.shape
    if keys.stride(-1) != 1 or values.stride(-1) != 1:
        raise ValueError("decode_attention needs a dense last dimension.")
    config = launch_config(q_heads // kv_heads, head_dim, query.dtype)
    tile = int(config["TILE"])
    wanted = min(_MOST_SPLITS, triton.cdiv(tokens, _TOKENS_PER_SPLIT))
    per_split = triton.cdiv(triton.cdiv(tokens, wanted), tile) * tile
    splits = triton.cdiv(tokens, per_split)

    stats = torch.empty(2, splits, q_heads, device=query.device)
    totals = torch.empty(splits, q_heads, head_dim, device=query.device)
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    split_kernel[(splits, kv_heads)](
        query.contiguous(),
        keys,
        values,
        stats[0],
        stats[1],
        totals,
        tokens,
        per_split,
        q_heads // kv_heads,
        head_dim,
        keys.stride(0),
        keys.stride(1),
        values.stride(0),
        values.stride(1),
        scale * math.log2(math.e),
        **config,
    )
    merge_kernel[(q_heads,)](stats[0], stats[1], totals, out, splits, head_dim, **merge_config(splits, head_dim))
    return out
