"""Rotary position embedding of queries and keys, in place, one program per token and tile of heads.

    low'  = low * cos_low  - high * sin_low
    high' = high * cos_high + low * sin_high

Computed in fp32 and rounded once, where the plain definition also rounds each product. Each element is read
and written once: 4 bytes in bf16, against about 18 for the plain definition.
"""

from functools import cache

import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def rope_kernel(
    query_ptr,
    key_ptr,
    cos_ptr,
    sin_ptr,
    query_heads,
    key_heads,
    query_token_stride,
    query_head_stride,
    key_token_stride,
    key_head_stride,
    table_stride,
    half,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    column = tl.arange(0, HALF)[None, :]
    live = column < half
    table = token * table_stride + column
    cos_low = tl.load(cos_ptr + table, mask=live, other=0.0).to(tl.float32)
    cos_high = tl.load(cos_ptr + table + half, mask=live, other=0.0).to(tl.float32)
    sin_low = tl.load(sin_ptr + table, mask=live, other=0.0).to(tl.float32)
    sin_high = tl.load(sin_ptr + table + half, mask=live, other=0.0).to(tl.float32)

    query_tiles = tl.cdiv(query_heads, HEADS)
    if tile < query_tiles:
        head = tile * HEADS + tl.arange(0, HEADS)[:, None]
        rotate(
            query_ptr + token * query_token_stride + head * query_head_stride + column,
            (head < query_heads) & live,
            half, cos_low, cos_high, sin_low, sin_high,
        )  # fmt: skip
    else:
        head = (tile - query_tiles) * HEADS + tl.arange(0, HEADS)[:, None]
        rotate(
            key_ptr + token * key_token_stride + head * key_head_stride + column,
            (head < key_heads) & live,
            half, cos_low, cos_high, sin_low, sin_high,
        )  # fmt: skip


@triton.jit
def rotate(pointers, inside, half, cos_low, cos_high, sin_low, sin_high):
    dtype = pointers.dtype.element_ty
    low = tl.load(pointers, mask=inside, other=0.0).to(tl.float32)
    high = tl.load(pointers + half, mask=inside, other=0.0).to(tl.float32)
    tl.store(pointers, (low * cos_low - high * sin_low).to(dtype), mask=inside)
    tl.store(pointers + half, (high * cos_high + low * sin_high).to(dtype), mask=inside)


@cache
def launch_config(query_heads: int, half: int) -> dict[str, int]:
    """Tile of heads and warps: at most 1K pairs a program."""
    width = triton.next_power_of_2(half)
    heads = min(triton.next_power_of_2(query_heads), max(1, 1024 // width))
    return {"HEADS": heads, "HALF": width, "num_warps": 4, "num_stages": 1}


def apply_rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """`reference.apply_rope`: rotates `[tokens, heads, head_dim]` tensors in place."""
    tokens, query_heads, _ = query.shape
    key_heads = key.shape[1]
    half = cos.shape[-1] // 2
    if query.stride(-1) != 1 or key.stride(-1) != 1:
        raise ValueError("apply_rope needs a dense last dimension.")
    cos, sin = cos.contiguous(), sin.contiguous()
    config = launch_config(query_heads, half)
    tiles = triton.cdiv(query_heads, config["HEADS"]) + triton.cdiv(key_heads, config["HEADS"])
    rope_kernel[(tokens, tiles)](
        query,
        key,
        cos,
        sin,
        query_heads,
        key_heads,
        query.stride(0),
        query.stride(1),
        key.stride(0),
        key.stride(1),
        cos.stride(0),
        half,
        **config,
    )
    return query, key
