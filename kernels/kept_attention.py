"""One decoded token on one layer's growing buffer, whose address, room and length lie in device memory.

A layer's row of the table holds where its buffer [2, kv_heads, room, head_dim] begins, its room in tokens and how many
tokens it holds. No launch depends on a prompt, a length or a buffer: a CUDA graph of them serves every answer.

    append_rotated    rotates the queries in place and the key on its way to the buffer, which gets the value too
    attend_row        attention over what the buffer holds, the new token included, split over the keys
"""

import math
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from .decode_attention import attend_share, launch_config

# Each KV head's tokens go to this many programs at most: 512 for 8 heads, four for each multiprocessor of an H100.
_SPLITS = 64


@triton.jit
def append_kernel(
    query_ptr,
    key_ptr,
    value_ptr,
    cos_ptr,
    sin_ptr,
    row_ptr,
    query_heads,
    head_dim,
    half,
    HALF: tl.constexpr,
    DIM: tl.constexpr,
):
    head = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, HALF)
    live = column < half
    cos_low = tl.load(cos_ptr + column, mask=live, other=0.0).to(tl.float32)
    cos_high = tl.load(cos_ptr + column + half, mask=live, other=0.0).to(tl.float32)
    sin_low = tl.load(sin_ptr + column, mask=live, other=0.0).to(tl.float32)
    sin_high = tl.load(sin_ptr + column + half, mask=live, other=0.0).to(tl.float32)
    if head < query_heads:
        place = query_ptr + head * head_dim + column
        turn(place, place, live, half, cos_low, cos_high, sin_low, sin_high)
    else:
        kv_head = head - query_heads
        kv_heads = tl.num_programs(0) - query_heads
        room = tl.load(row_ptr + 1)
        store_ptr = tl.load(row_ptr).to(tl.pointer_type(key_ptr.dtype.element_ty))
        key_place = store_ptr + (kv_head * room + tl.load(row_ptr + 2)) * head_dim
        wide = tl.arange(0, DIM)
        inside = wide < head_dim
        rest = inside & (wide >= 2 * half)
        tl.store(key_place + wide, tl.load(key_ptr + kv_head * head_dim + wide, mask=rest), mask=rest)
        turn(
            key_ptr + kv_head * head_dim + column, key_place + column, live, half, cos_low, cos_high, sin_low, sin_high
        )
        value = tl.load(value_ptr + kv_head * head_dim + wide, mask=inside)
        tl.store(key_place + kv_heads * room * head_dim + wide, value, mask=inside)


@triton.jit
def turn(source, target, live, half, cos_low, cos_high, sin_low, sin_high):
    dtype = target.dtype.element_ty
    low = tl.load(source, mask=live, other=0.0).to(tl.float32)
    high = tl.load(source + half, mask=live, other=0.0).to(tl.float32)
    tl.store(target, (low * cos_low - high * sin_low).to(dtype), mask=live)
    tl.store(target + half, (high * cos_high + low * sin_high).to(dtype), mask=live)


@triton.jit
def row_split_kernel(
    query_ptr,
    row_ptr,
    best_ptr,
    mass_ptr,
    total_ptr,
    group,
    head_dim,
    scale_log2,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    DIM: tl.constexpr,
):
    split = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    room = tl.load(row_ptr + 1)
    tokens = tl.load(row_ptr + 2).to(tl.int32) + 1
    per_split = tl.cdiv(tl.cdiv(tokens, tl.num_programs(0)), TILE) * TILE
    if split * per_split < tokens:
        # Buffers begin and heads follow at whole 16 bytes: said here, as an address from memory says nothing.
        key_ptr = tl.load(row_ptr).to(tl.pointer_type(query_ptr.dtype.element_ty))
        key_ptr = tl.multiple_of(key_ptr, 16)
        start = head * room * head_dim
        after = tl.num_programs(1) * room * head_dim
        attend_share(
            query_ptr, key_ptr + start, key_ptr + start + after, best_ptr, mass_ptr, total_ptr, split, head, tokens,
            per_split, group, head_dim, head_dim, head_dim, scale_log2, PRECISION, ROWS, TILE, DIM,
        )  # fmt: skip


@triton.jit
def row_merge_kernel(
    best_ptr,
    mass_ptr,
    total_ptr,
    row_ptr,
    out_ptr,
    head_dim,
    TILE: tl.constexpr,
    SPLITS: tl.constexpr,
    DIM: tl.constexpr,
):
    head = tl.program_id(0)
    heads = tl.num_programs(0)
    tokens = tl.load(row_ptr + 2).to(tl.int32) + 1
    per_split = tl.cdiv(tl.cdiv(tokens, SPLITS), TILE) * TILE
    split = tl.arange(0, SPLITS)
    held = split * per_split < tokens
    share = split * heads + head
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
def append_config(half: int, head_dim: int) -> dict[str, int]:
    """Tiles of the append kernel, a warp for each head."""
    return {
        "HALF": triton.next_power_of_2(half),
        "DIM": triton.next_power_of_2(head_dim),
        "num_warps": 1,
        "num_stages": 1,
    }


@cache
def row_merge_config(head_dim: int, tile: int) -> dict[str, int]:
    """Tile and warps of the merge kernel."""
    return {
        "TILE": tile,
        "SPLITS": _SPLITS,
        "DIM": triton.next_power_of_2(head_dim),
        "num_warps": 4,
        "num_stages": 1,
    }


def append_rotated(
    query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor, store: Tensor, row: Tensor
) -> Tensor:
    """`reference.append_rotated`, into the buffer that `row` names."""
    _check(query, key, value, row)
    query_heads, head_dim = query.shape
    half = cos.shape[-1] // 2
    append_kernel[(query_heads + len(key),)](
        query, key, value, cos.contiguous(), sin.contiguous(), row, query_heads, head_dim, half,
        **append_config(half, head_dim),
    )  # fmt: skip
    return query


def attend_row(query: Tensor, store: Tensor, row: Tensor, scale: float) -> Tensor:
    """`reference.attend_row` over the buffer that `row` names; of `store` the number of heads alone is read."""
    _check(query, row)
    q_heads, head_dim = query.shape
    kv_heads = store.shape[1]
    config = launch_config(q_heads // kv_heads, head_dim, query.dtype)
    stats = torch.empty(2, _SPLITS, q_heads, device=query.device)
    totals = torch.empty(_SPLITS, q_heads, head_dim, device=query.device)
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    row_split_kernel[(_SPLITS, kv_heads)](
        query, row, stats[0], stats[1], totals, q_heads // kv_heads, head_dim, scale * math.log2(math.e), **config
    )
    row_merge_kernel[(q_heads,)](
        stats[0], stats[1], totals, row, out, head_dim, **row_merge_config(head_dim, int(config["TILE"]))
    )
    return out


def _check(*dense: Tensor) -> None:
    if not all(tensor.is_contiguous() for tensor in dense):
        raise ValueError("A decoded token's queries, keys and values, and its row, must be dense.")
