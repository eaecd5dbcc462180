"""Blocks of GGUF formats: every format has the values of the package gguf, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from sliminfer.ops.ggml import FORMATS, unpack


def random_blocks(kind: str, rows: int, blocks: int) -> np.ndarray:
    """Random bytes; every 16 bits that could be a scale are a finite fp16 number."""
    size = FORMATS[kind].size
    data = np.random.default_rng(0).integers(0, 256, (rows, blocks * size), dtype=np.uint8)
    data[:, 1::2] &= 0xBF  # clears an fp16 exponent's highest bit: no infinity and no NaN
    return data


@pytest.mark.parametrize("kind", FORMATS)
def test_values_are_those_of_the_package_gguf(kind: str) -> None:
    packed = random_blocks(kind, 6, 5)
    wanted = dequantize(packed, GGMLQuantizationType[kind])
    got = unpack(torch.from_numpy(packed), kind)
    assert got.dtype is torch.float32
    assert np.isfinite(wanted).all()
    assert torch.equal(got, torch.from_numpy(wanted))


@pytest.mark.parametrize("kind", FORMATS)
def test_sizes_are_those_of_the_format(kind: str) -> None:
    assert GGML_QUANT_SIZES[GGMLQuantizationType[kind]] == (FORMATS[kind].values, FORMATS[kind].size)


def test_rows_are_unpacked_one_by_one() -> None:
    packed = torch.from_numpy(random_blocks("Q4_K", 8, 2))
    assert torch.equal(unpack(packed, "Q4_K")[3], unpack(packed[3], "Q4_K"))
    assert unpack(packed.view(2, 4, -1), "Q4_K").shape == (2, 4, 512)
