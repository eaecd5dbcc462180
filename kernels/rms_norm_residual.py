"""RMSNorm over rows, alone or after adding a residual: one read and one write of each row.

    rms_norm(x)               out = weight * round(x / sqrt(mean(x^2) + eps))
    rms_norm_residual(x, r)   x := x + r, then the same of the sum

Rounded to the type of `x` where the Llama family rounds. Bytes per element in bf16: 4 alone, 8 with the
residual; the plain definition in torch moves about 34 and 40.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit(do_not_specialize=["rows"])
def rms_norm_kernel(
    x_ptr,
    residual_ptr,
    weight_ptr,
    out_ptr,
    rows,
    columns,
    x_stride,
    residual_stride,
    eps,
    ADD: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    value = tl.load(x_ptr + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        residual = tl.load(residual_ptr + row * residual_stride + column, mask=inside, other=0.0)
        total = (value + residual.to(tl.float32)).to(x_ptr.dtype.element_ty)
        tl.store(x_ptr + row * x_stride + column, total, mask=inside)
        value = total.to(tl.float32)
    variance = tl.sum(value * value, axis=1)[:, None] / columns
    normed = (value * tl.rsqrt(variance + eps)).to(x_ptr.dtype.element_ty)
    weight = tl.load(weight_ptr + column, mask=column < columns, other=0.0)
    scaled = weight.to(tl.float32) * normed.to(tl.float32)
    tl.store(out_ptr + row * columns + column, scaled.to(out_ptr.dtype.element_ty), mask=inside)


@cache
def launch_config(columns: int) -> dict[str, int]:
    """Block shape and warps for rows of `columns` elements: about 2K elements a program, 16 to 32 a thread."""
    width = triton.next_power_of_2(columns)
    warps = min(16, max(4, width // 512))
    return {"ROWS": max(1, 2048 // width), "COLUMNS": width, "num_warps": warps, "num_stages": 1}


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`reference.rms_norm` on the device of `x`."""
    return _launch(x, None, weight, eps)


def rms_norm_residual(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`reference.rms_norm_residual`: `x` is overwritten by the sum."""
    if not x.is_contiguous():
        raise ValueError("rms_norm_residual writes into x, which must be contiguous.")
    return _launch(x, residual, weight, eps), x


def _launch(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    if weight.dtype != x.dtype:
        raise TypeError(f"The weight is {weight.dtype} and x {x.dtype}: they must have one type.")
    columns = x.shape[-1]
    flat = x.reshape(-1, columns)
    added = flat if residual is None else residual.reshape(-1, columns)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    config = launch_config(columns)
    rms_norm_kernel[(triton.cdiv(len(flat), config["ROWS"]),)](
        flat,
        added,
        weight,
        out,
        len(flat),
        columns,
        flat.stride(0),
        added.stride(0),
        eps,
        ADD=residual is not None,
        **config,
    )
    return out
