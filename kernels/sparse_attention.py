"""Causal attention of a prompt over chosen blocks of keys: flash attention that walks a list of blocks.

A program takes one block of queries of one head, and goes through the blocks of keys that these read, in order. All
but the last are whole and lie before the queries, so that nothing is masked there; the last is the queries' own. Any
length runs the same machine code, and the longest lists start first.
"""

import math
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def take_in(logits, values, best, mass, total, PRECISION: tl.constexpr):
    """One tile of keys, by its base-2 logits, taken into the running maximum, mass and weighted values of the rows."""
    peak = tl.maximum(best, tl.max(logits, axis=1))
    weights = tl.exp2(logits - peak[:, None])
    shrink = tl.exp2(best - peak)
    mass = mass * shrink + tl.sum(weights, axis=1)
    total = total * shrink[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
    return peak, mass, total


@triton.jit(do_not_specialize=["tokens", "blocks", "before", "group", "per_table"])
def sparse_kernel(
    query_ptr,
    key_ptr,
    value_ptr,
    list_ptr,
    count_ptr,
    out_ptr,
    tokens,
    blocks,
    before,
    group,
    per_table,
    head_dim,
    query_head_stride,
    query_stride,
    key_head_stride,
    key_stride,
    value_head_stride,
    value_stride,
    out_stride,
    scale_log2,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    DIM: tl.constexpr,
):
    parts: tl.constexpr = BLOCK // ROWS
    tiles: tl.constexpr = BLOCK // TILE
    own = blocks - 1 - tl.program_id(0) // parts
    head = tl.program_id(1).to(tl.int64)
    kv_head = head // group
    line = (head // per_table) * (blocks - before) + own - before
    count = tl.load(count_ptr + line)

    column = tl.arange(0, DIM)[None, :]
    live = column < head_dim
    row = own * BLOCK + (parts - 1 - tl.program_id(0) % parts) * ROWS + tl.arange(0, ROWS)
    place = (row - before * BLOCK)[:, None].to(tl.int64)
    inside = (row[:, None] < tokens) & live
    query = tl.load(query_ptr + head * query_head_stride + place * query_stride + column, mask=inside, other=0.0)

    key_ptr += kv_head * key_head_stride
    value_ptr += kv_head * value_head_stride
    lane = tl.arange(0, TILE)
    best = tl.full((ROWS,), float("-inf"), dtype=tl.float32)
    mass = tl.zeros((ROWS,), dtype=tl.float32)
    total = tl.zeros((ROWS, DIM), dtype=tl.float32)
    for step in range((count - 1) * tiles):
        chosen = tl.load(list_ptr + line * blocks + step // tiles).to(tl.int64)
        token = (chosen * BLOCK + (step % tiles) * TILE + lane)[:, None]
        keys = tl.load(key_ptr + token * key_stride + column, mask=live, other=0.0)
        values = tl.load(value_ptr + token * value_stride + column, mask=live, other=0.0)
        logits = tl.dot(query, tl.trans(keys), input_precision=PRECISION) * scale_log2
        best, mass, total = take_in(logits, values, best, mass, total, PRECISION)
    for tile in range(tiles):
        token = own * BLOCK + tile * TILE + lane
        wide = token[:, None].to(tl.int64)
        seen = (token[:, None] < tokens) & live
        keys = tl.load(key_ptr + wide * key_stride + column, mask=seen, other=0.0)
        values = tl.load(value_ptr + wide * value_stride + column, mask=seen, other=0.0)
        logits = tl.dot(query, tl.trans(keys), input_precision=PRECISION) * scale_log2
        logits = tl.where(token[None, :] > row[:, None], float("-inf"), logits)
        best, mass, total = take_in(logits, values, best, mass, total, PRECISION)
    out = total / mass[:, None]
    tl.store(out_ptr + place * out_stride + head * head_dim + column, out.to(out_ptr.dtype.element_ty), mask=inside)


def launch_config(block: int, head_dim: int, dtype: torch.dtype, capability: int) -> dict[str, object]:
    """Tiles, and how many warps and pipeline stages; fp32 in exact products, for tests rather than for speed.

    Tiles of 64 keys use Hopper's own matrix instructions without spilling registers; before Hopper they spill 32 or
    more of them at heads of 128, and tiles of 32 none.
    """
    exact = dtype == torch.float32
    dim = max(16, triton.next_power_of_2(head_dim))
    rows = 16 if exact else min(block, 128)
    return {
        "PRECISION": "ieee",
        "BLOCK": block,
        "ROWS": rows,
        "TILE": 16 if exact else min(block, 64 if capability >= 90 or dim <= 64 else 32),
        "DIM": dim,
        "num_warps": 8 if rows == 128 else 4,
        "num_stages": 1 if exact else 3 if capability >= 90 else 2,
    }


def block_lists(table: Tensor) -> tuple[Tensor, Tensor]:
    """The blocks that each row of `table` names, ascending and then the others, and how many they are, int32."""
    lists = table.logical_not().to(torch.int8).sort(dim=-1, stable=True).indices.to(torch.int32)
    return lists, table.sum(-1, dtype=torch.int32)


@cache
def _capability(device: torch.device) -> int:
    major, minor = torch.cuda.get_device_capability(device) if device.type == "cuda" else (9, 0)
    return 10 * major + minor


def sparse_attention(query: Tensor, keys: Tensor, values: Tensor, table: Tensor, block: int, scale: float) -> Tensor:
    """See `sliminfer.ops.block_rows.sparse_attention`; every row of `table` names its own block and none after it."""
    heads, rows, head_dim = query.shape
    tokens = keys.shape[1]
    query, keys, values = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, keys, values))
    lists, counts = block_lists(table)
    own, blocks = table.shape[1:]
    out = torch.empty(rows, heads, head_dim, dtype=query.dtype, device=query.device)
    config = launch_config(block, head_dim, query.dtype, _capability(query.device))
    grid = (own * (block // int(str(config["ROWS"]))), heads)
    sparse_kernel[grid](
        query,
        keys,
        values,
        lists,
        counts,
        out,
        tokens,
        blocks,
        blocks - own,
        heads // len(keys),
        heads // len(table),
        head_dim,
        query.stride(0),
        query.stride(1),
        keys.stride(0),
        keys.stride(1),
        values.stride(0),
        values.stride(1),
        out.stride(0),
        scale * math.log2(math.e),
        **config,
    )
    return out
