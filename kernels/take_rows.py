"""The rows of a call that go on behind a prune step: hidden states and rotary tables in one launch."""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def take_kernel(
    hidden_ptr,
    cos_ptr,
    sin_ptr,
    index_ptr,
    hidden_out_ptr,
    cos_out_ptr,
    sin_out_ptr,
    columns,
    width,
    hidden_stride,
    cos_stride,
    sin_stride,
    TILE: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    source = tl.load(index_ptr + row)
    if tile == 0:
        angle = tl.arange(0, WIDTH)
        inside = angle < width
        tl.store(cos_out_ptr + row * width + angle, tl.load(cos_ptr + source * cos_stride + angle, mask=inside), inside)
        tl.store(sin_out_ptr + row * width + angle, tl.load(sin_ptr + source * sin_stride + angle, mask=inside), inside)
    column = tile * TILE + tl.arange(0, TILE)
    inside = column < columns
    value = tl.load(hidden_ptr + source * hidden_stride + column, mask=inside)
    tl.store(hidden_out_ptr + row * columns + column, value, mask=inside)


@cache
def launch_config(columns: int, width: int) -> dict[str, int]:
    """Tiles of at most 2K columns, 16 a thread."""
    return {
        "TILE": min(2048, triton.next_power_of_2(columns)),
        "WIDTH": triton.next_power_of_2(width),
        "num_warps": 4,
        "num_stages": 1,
    }


def take_rows(hidden: Tensor, cos: Tensor, sin: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.take_rows` on the device of `hidden`."""
    if not all(each.stride(-1) == 1 and len(each) == 1 for each in (hidden, cos, sin)):
        raise ValueError("take_rows needs single rows of a dense last dimension.")
    columns, width, count = hidden.shape[-1], cos.shape[-1], len(index)
    taken = [torch.empty(1, count, each.shape[-1], dtype=each.dtype, device=each.device) for each in (hidden, cos, sin)]
    config = launch_config(columns, width)
    take_kernel[(count, triton.cdiv(columns, config["TILE"]))](
        hidden, cos, sin, index, *taken, columns, width, hidden.stride(1), cos.stride(1), sin.stride(1), **config
    )
    return taken[0], taken[1], taken[2]
