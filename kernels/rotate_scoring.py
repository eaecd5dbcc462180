"""RoPE of what a prune step scores with, in one launch: keys of all tokens, and the last tokens' queries of two layers.

In place, as `rope`; programs are those of the keys first, then those of both layers' queries, so that the tokens that
have no queries here cost none.
"""

from functools import cache

import triton
import triton.language as tl
from torch import Tensor

from .rope import rotate


@triton.jit(do_not_specialize=["tokens", "asking", "key_heads", "query_heads"])
def scoring_kernel(
    key_ptr,
    cos_ptr,
    sin_ptr,
    own_ptr,
    before_ptr,
    before_cos_ptr,
    before_sin_ptr,
    tokens,
    asking,
    key_heads,
    query_heads,
    key_token_stride,
    query_token_stride,
    head_stride,
    table_stride,
    before_table_stride,
    half,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64)
    key_tiles = tl.cdiv(key_heads, HEADS)
    query_tiles = tl.cdiv(query_heads, HEADS)
    x_ptr = key_ptr
    heads = key_heads
    tiles = key_tiles
    token_stride = key_token_stride
    first = tokens - asking
    if place >= tokens * key_tiles:
        place -= tokens * key_tiles
        heads = query_heads
        tiles = query_tiles
        token_stride = query_token_stride
        x_ptr = own_ptr
        cos_ptr += first * table_stride
        sin_ptr += first * table_stride
        if place >= asking * query_tiles:
            place -= asking * query_tiles
            x_ptr = before_ptr
            cos_ptr = before_cos_ptr
            sin_ptr = before_sin_ptr
            table_stride = before_table_stride
    token = place // tiles
    head = place % tiles * HEADS + tl.arange(0, HEADS)[:, None]
    column = tl.arange(0, HALF)[None, :]
    live = column < half
    table = token * table_stride + column
    rotate(
        x_ptr + token * token_stride + head * head_stride + column,
        (head < heads) & live,
        half,
        tl.load(cos_ptr + table, mask=live, other=0.0).to(tl.float32),
        tl.load(cos_ptr + table + half, mask=live, other=0.0).to(tl.float32),
        tl.load(sin_ptr + table, mask=live, other=0.0).to(tl.float32),
        tl.load(sin_ptr + table + half, mask=live, other=0.0).to(tl.float32),
    )


@cache
def launch_config(key_heads: int, half: int) -> dict[str, int]:
    """Tile of heads and warps: at most 1K pairs a program, no wider than the heads of keys, most of the work."""
    width = triton.next_power_of_2(half)
    heads = min(triton.next_power_of_2(key_heads), max(1, 1024 // width))
    return {"HEADS": heads, "HALF": width, "num_warps": 4, "num_stages": 1}


def rotate_scoring(
    key: Tensor, cos: Tensor, sin: Tensor, own: Tensor, before: Tensor, before_cos: Tensor, before_sin: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.rotate_scoring` on the device of `key`."""
    if own.shape != before.shape or own.stride() != before.stride() or own.stride(1) != key.stride(1):
        raise ValueError("rotate_scoring takes queries of one form, laid out as the keys are.")
    tables = (cos, sin, before_cos, before_sin)
    if any(each.stride(-1) != 1 for each in (key, own, *tables)):
        raise ValueError("rotate_scoring needs a dense last dimension.")
    tokens, key_heads, _ = key.shape
    asking, query_heads, _ = own.shape
    half = cos.shape[-1] // 2
    config = launch_config(key_heads, half)
    keys = tokens * triton.cdiv(key_heads, config["HEADS"])
    queries = 2 * asking * triton.cdiv(query_heads, config["HEADS"])
    scoring_kernel[(keys + queries,)](
        key, cos, sin, own, before, before_cos, before_sin, tokens, asking, key_heads, query_heads,
        key.stride(0), own.stride(0), key.stride(1), cos.stride(0), before_cos.stride(0), half, **config,
    )  # fmt: skip
    return key, own, before
