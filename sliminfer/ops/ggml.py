"""Blocks of GGUF's quantised formats, unpacked by torch on any device.

A row of weights is stored as blocks, each a few scales and the codes of 32 or 256 weights. The formulas are those of
ggml, and the values those of the package gguf to the last bit. Formats that are not here are unpacked when a file is
loaded (`sliminfer.model.gguf_weights`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Weights unpacked at once. On a CPU the steps of one slice then find their data in the caches.
_SLICE_CPU = 2**15
_SLICE_CUDA = 2**24


@dataclass(frozen=True)
class BlockFormat:
    """One quantised format: `size` bytes hold `values` weights, which `read` turns from [n, size] to [n, values]."""

    values: int
    size: int
    read: Callable[[Tensor], Tensor]


def unpack(blocks: Tensor, kind: str) -> Tensor:
    """Weights [..., columns] in fp32 of `blocks` [..., bytes] in uint8, in the format called `kind`, such as "Q4_K"."""
    form = FORMATS[kind]
    values = form.read(blocks.reshape(-1, form.size))
    return values.reshape(*blocks.shape[:-1], blocks.shape[-1] // form.size * form.values)


def unpack_rows(blocks: Tensor, kind: str, dtype: torch.dtype) -> Tensor:
    """As `unpack`, of [rows, bytes] to [rows, columns] in `dtype`, in slices so that fp32 never exists for all rows."""
    form = FORMATS[kind]
    columns = blocks.shape[1] // form.size * form.values
    out = torch.empty(len(blocks), columns, dtype=dtype, device=blocks.device)
    limit = max(1, (_SLICE_CUDA if blocks.is_cuda else _SLICE_CPU) // columns)
    for target, part in zip(out.split(limit), blocks.split(limit)):
        target.copy_(unpack(part, kind))
    return out


def _half(blocks: Tensor, start: int) -> Tensor:
    """The fp16 number at byte `start` of every block, [n, 1] in fp32."""
    return blocks[:, start : start + 2].contiguous().view(torch.float16).float()


def _fields(data: Tensor, group: int, width: int) -> Tensor:
    """The fields of `width` bits in `data` [n, bytes]: of every `group` bytes first all lowest fields, then the next.

    Returns [n, bytes * 8 / width] in uint8.
    """
    shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=data.device)[:, None]
    parts = data.reshape(len(data), -1, 1, group) >> shifts
    return (parts & ((1 << width) - 1)).reshape(len(data), -1)


def _scaled(scales: Tensor, codes: Tensor) -> Tensor:
    """`codes` [n, values] times `scales` [n, groups], each of which covers an equal part of the values."""
    grouped = codes.float().reshape(*scales.shape, -1)
    return (scales[..., None] * grouped).reshape(len(codes), -1)


def _q4_0(b: Tensor) -> Tensor:
    return _half(b, 0) * (_fields(b[:, 2:], 16, 4).to(torch.int8) - 8)


def _q4_1(b: Tensor) -> Tensor:
    return _half(b, 0) * _fields(b[:, 4:], 16, 4) + _half(b, 2)


def _q5_0(b: Tensor) -> Tensor:
    codes = _fields(b[:, 6:], 16, 4) | _fields(b[:, 2:6], 1, 1) << 4
    return _half(b, 0) * (codes.to(torch.int8) - 16)


def _q5_1(b: Tensor) -> Tensor:
    codes = _fields(b[:, 8:], 16, 4) | _fields(b[:, 4:8], 1, 1) << 4
    return _half(b, 0) * codes + _half(b, 2)


def _q8_0(b: Tensor) -> Tensor:
    return _half(b, 0) * b[:, 2:].view(torch.int8)


def _q2_k(b: Tensor) -> Tensor:
    scales, minima = _half(b, 80) * (b[:, :16] & 15), _half(b, 82) * (b[:, :16] >> 4)
    return _scaled(scales, _fields(b[:, 16:80], 32, 2)) - minima.repeat_interleave(16, 1)


def _q3_k(b: Tensor) -> Tensor:
    scales = (_fields(b[:, 96:104], 8, 4) | _fields(b[:, 104:108], 4, 2) << 4).to(torch.int8) - 32
    # Where the mask's bit is not set, four is taken off.
    codes = _fields(b[:, 32:96], 32, 2).to(torch.int8) - 4 + (_fields(b[:, :32], 32, 1) << 2).to(torch.int8)
    return _scaled(_half(b, 108) * scales, codes)


def _six_bits(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Eight scales and eight minima of six bits each, [n, 8], out of `packed` [n, 12]."""
    low, high, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = torch.cat([low & 63, rest & 15 | low >> 2 & 48], 1)
    minima = torch.cat([high & 63, rest >> 4 | high >> 2 & 48], 1)
    return scales, minima


def _q4_k(b: Tensor) -> Tensor:
    scales, minima = _six_bits(b[:, 4:16])
    values = _scaled(_half(b, 0) * scales, _fields(b[:, 16:], 32, 4))
    return values - (_half(b, 2) * minima).repeat_interleave(32, 1)


def _q5_k(b: Tensor) -> Tensor:
    scales, minima = _six_bits(b[:, 4:16])
    codes = _fields(b[:, 48:], 32, 4) | _fields(b[:, 16:48], 32, 1) << 4
    return _scaled(_half(b, 0) * scales, codes) - (_half(b, 2) * minima).repeat_interleave(32, 1)


def _q6_k(b: Tensor) -> Tensor:
    codes = _fields(b[:, :128], 64, 4) | _fields(b[:, 128:192], 32, 2) << 4
    return _scaled(_half(b, 208) * b[:, 192:208].view(torch.int8), codes.to(torch.int8) - 32)


FORMATS: dict[str, BlockFormat] = {
    "Q4_0": BlockFormat(32, 18, _q4_0),
    "Q4_1": BlockFormat(32, 20, _q4_1),
    "Q5_0": BlockFormat(32, 22, _q5_0),
    "Q5_1": BlockFormat(32, 24, _q5_1),
    "Q8_0": BlockFormat(32, 34, _q8_0),
    "Q2_K": BlockFormat(256, 84, _q2_k),
    "Q3_K": BlockFormat(256, 110, _q3_k),
    "Q4_K": BlockFormat(256, 144, _q4_k),
    "Q5_K": BlockFormat(256, 176, _q5_k),
    "Q6_K": BlockFormat(256, 210, _q6_k),
}
