"""Representative key of each unit: the mean of the keys of `unit_size` consecutive tokens.

The last unit may hold fewer tokens and is divided by its real count. Every key is read once.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit(do_not_specialize=["tokens", "units"])
def unit_keys_kernel(
    keys_ptr,
    out_ptr,
    tokens,
    units,
    head_dim,
    unit_size,
    head_stride,
    token_stride,
    UNITS: tl.constexpr,
    DIM: tl.constexpr,
):
    head = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    column = tl.arange(0, DIM)[None, :]
    total = tl.zeros((UNITS, DIM), dtype=tl.float32)
    for step in range(unit_size):
        token = unit.to(tl.int64) * unit_size + step
        inside = (token[:, None] < tokens) & (column < head_dim)
        source = keys_ptr + head * head_stride + token[:, None] * token_stride + column
        total += tl.load(source, mask=inside, other=0.0).to(tl.float32)
    count = tl.minimum(unit_size, tokens - unit * unit_size)
    mean = total / tl.maximum(count, 1).to(tl.float32)[:, None]
    target = out_ptr + (head * units + unit[:, None]) * head_dim + column
    tl.store(target, mean.to(out_ptr.dtype.element_ty), mask=(unit[:, None] < units) & (column < head_dim))


@cache
def launch_config(head_dim: int) -> dict[str, int]:
    """Units a program and warps: 2K elements, 16 a thread."""
    width = triton.next_power_of_2(head_dim)
    return {"UNITS": max(1, 2048 // width), "DIM": width, "num_warps": 4, "num_stages": 3}


def unit_keys(keys: Tensor, unit_size: int) -> Tensor:
    """`reference.unit_keys` of `[kv_heads, tokens, head_dim]` with a dense last dimension."""
    heads, tokens, head_dim = keys.shape
    if keys.stride(-1) != 1:
        keys = keys.contiguous()
    units = triton.cdiv(tokens, unit_size)
    out = torch.empty(heads, units, head_dim, dtype=keys.dtype, device=keys.device)
    config = launch_config(head_dim)
    unit_keys_kernel[(triton.cdiv(units, config["UNITS"]), heads)](
        keys, out, tokens, units, head_dim, unit_size, keys.stride(0), keys.stride(1), **config
    )
    return out
