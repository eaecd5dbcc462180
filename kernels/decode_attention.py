"""Attention of one decoded token over resident block slots and the tail, split over the keys.

Each program takes the query heads of one KV head and a share of the slots and of the tail, and leaves its
running maximum, mass and weighted values; a second kernel merges the shares in fp32. Keys and values are read
once, where they lie.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

_TOKENS_PER_SPLIT = 256
_MOST_SPLITS = 64


@triton.jit
def attend(query, key_ptrs, value_ptrs, valid, live, scale_log2, best, mass, total, PRECISION: tl.constexpr):
    """One tile of keys into the running softmax. What is not valid is never loaded: it may hold anything."""
    inside = valid[:, None] & live
    keys = tl.load(key_ptrs, mask=inside, other=0.0)
    values = tl.load(value_ptrs, mask=inside, other=0.0)
    logits = tl.dot(query, tl.trans(keys), input_precision=PRECISION) * scale_log2
    logits = tl.where(valid[None, :], logits, float("-inf"))
    peak = tl.maximum(best, tl.max(logits, axis=1))
    base = tl.where(peak == float("-inf"), 0.0, peak)
    weights = tl.exp2(logits - base[:, None])
    shrink = tl.exp2(best - base)
    mass = mass * shrink + tl.sum(weights, axis=1)
    total = total * shrink[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
    return peak, mass, total


@triton.jit(do_not_specialize=["stored", "tail", "block", "per_split", "tail_per_split"])
def split_kernel(
    query_ptr,
    key_ptr,
    value_ptr,
    length_ptr,
    tail_key_ptr,
    tail_value_ptr,
    best_ptr,
    mass_ptr,
    total_ptr,
    stored,
    tail,
    block,
    group,
    head_dim,
    key_head_stride,
    key_stride,
    value_head_stride,
    value_stride,
    tail_key_head_stride,
    tail_key_stride,
    tail_value_head_stride,
    tail_value_stride,
    per_split,
    tail_per_split,
    scale_log2,
    LENGTHS: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    DIM: tl.constexpr,
):
    split = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
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

    for start in range(split * per_split, tl.minimum((split + 1) * per_split, stored), TILE):
        token = start + tl.arange(0, TILE)
        valid = token < stored
        if LENGTHS:
            slot = token // block
            length = tl.load(length_ptr + slot, mask=valid, other=0)
            valid = valid & (token - slot * block < length)
        place = token[:, None].to(tl.int64)
        best, mass, total = attend(
            query,
            key_ptr + head * key_head_stride + place * key_stride + column,
            value_ptr + head * value_head_stride + place * value_stride + column,
            valid, live, scale_log2, best, mass, total, PRECISION,
        )  # fmt: skip
    for start in range(split * tail_per_split, tl.minimum((split + 1) * tail_per_split, tail), TILE):
        token = start + tl.arange(0, TILE)
        place = token[:, None].to(tl.int64)
        best, mass, total = attend(
            query,
            tail_key_ptr + head * tail_key_head_stride + place * tail_key_stride + column,
            tail_value_ptr + head * tail_value_head_stride + place * tail_value_stride + column,
            token < tail, live, scale_log2, best, mass, total, PRECISION,
        )  # fmt: skip

    heads = tl.num_programs(1) * group
    share = split * heads + query_row
    tl.store(best_ptr + share, best, mask=row < group)
    tl.store(mass_ptr + share, mass, mask=row < group)
    tl.store(total_ptr + share[:, None] * head_dim + column, total, mask=(row[:, None] < group) & live)


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


def launch_config(group: int, head_dim: int, dtype: torch.dtype) -> dict[str, int | str]:
    """Tiles and warps of the split kernel; a matrix unit takes at least 16 query rows."""
    width = max(16, triton.next_power_of_2(head_dim))
    wide = dtype == torch.float32
    return {
        "ROWS": max(16, triton.next_power_of_2(group)),
        "TILE": 32 if wide else 64,
        "DIM": width,
        "PRECISION": "ieee",
        "num_warps": 4,
        "num_stages": 1 if wide else 3,
    }


def merge_config(splits: int, head_dim: int) -> dict[str, int]:
    """Tile and warps of the merge kernel."""
    return {
        "SPLITS": triton.next_power_of_2(splits),
        "DIM": triton.next_power_of_2(head_dim),
        "num_warps": 4,
        "num_stages": 1,
    }


def decode_attention(
    query: Tensor,
    key_slots: Tensor,
    value_slots: Tensor,
    scale: float,
    slot_lengths: Tensor | None = None,
    tail_keys: Tensor | None = None,
    tail_values: Tensor | None = None,
) -> Tensor:
    """`reference.decode_attention` on the device of `query`; last dimensions dense."""
    q_heads, head_dim = query.shape
    kv_heads, stored, _ = key_slots.shape
    query = query.contiguous()
    if tail_keys is None or tail_values is None:
        tail_keys, tail_values = key_slots[:, :0], value_slots[:, :0]
    tail = tail_keys.shape[1]
    config = launch_config(q_heads // kv_heads, head_dim, query.dtype)
    tile = int(config["TILE"])
    splits = min(_MOST_SPLITS, max(1, triton.cdiv(stored + tail, _TOKENS_PER_SPLIT)))
    per_split = triton.cdiv(triton.cdiv(stored, splits), tile) * tile
    tail_per_split = triton.cdiv(triton.cdiv(tail, splits), tile) * tile

    stats = torch.empty(2, splits, q_heads, device=query.device)
    totals = torch.empty(splits, q_heads, head_dim, device=query.device)
    out = torch.empty_like(query)
    split_kernel[(splits, kv_heads)](
        query,
        key_slots,
        value_slots,
        query if slot_lengths is None else slot_lengths,
        tail_keys,
        tail_values,
        stats[0],
        stats[1],
        totals,
        stored,
        tail,
        1 if slot_lengths is None else stored // len(slot_lengths),
        q_heads // kv_heads,
        head_dim,
        key_slots.stride(0),
        key_slots.stride(1),
        value_slots.stride(0),
        value_slots.stride(1),
        tail_keys.stride(0),
        tail_keys.stride(1),
        tail_values.stride(0),
        tail_values.stride(1),
        per_split,
        tail_per_split,
        scale * math.log2(math.e),
        LENGTHS=slot_lengths is not None,
        **config,
    )
    merge_kernel[(q_heads,)](stats[0], stats[1], totals, out, splits, head_dim, **merge_config(splits, head_dim))
    return out
