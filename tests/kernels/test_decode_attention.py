"""Decode attention: kernel and torch definition against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sliminfer.kernels import decode_attention as kernel
from sliminfer.ops import reference
from tests.kernels import oracle
from tests.kernels.checks import BOUNDS, Draw, error, poisoned

ATTEND = pytest.mark.parametrize(
    "attend", [reference.decode_attention, kernel.decode_attention], ids=["torch", "triton"]
)
Attend = Callable[..., Tensor]


@ATTEND
@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 423, 600])
@pytest.mark.parametrize(("kv_heads", "group", "dim"), [(1, 1, 32), (2, 3, 64), (1, 7, 96), (2, 8, 128)])
def test_against_float64(
    attend: Attend,
    tokens: int,
    kv_heads: int,
    group: int,
    dim: int,
    dtype: torch.dtype,
    device: torch.device,
    monkeypatch: Any,
) -> None:
    draw = Draw(21, dtype, device)
    query, keys, values = draw(kv_heads * group, dim), draw(kv_heads, tokens, dim), draw(kv_heads, tokens, dim)
    with poisoned(monkeypatch):
        out = attend(query, keys, values, 0.2)
    assert out.dtype == dtype
    assert error(out, oracle.decode_attention(query, keys, values, 0.2)) < BOUNDS[dtype]


@ATTEND
def test_order_of_the_slots_does_not_matter(attend: Attend, device: torch.device) -> None:
    draw = Draw(22, torch.float32, device)
    query, keys, values = draw(4, 64), draw(2, 320, 64), draw(2, 320, 64)
    order = torch.randperm(320, generator=draw.generator).to(device)
    swapped = attend(query, keys[:, order], values[:, order], 0.125)
    assert error(swapped, attend(query, keys, values, 0.125)) < 1e-6


@ATTEND
def test_what_lies_behind_the_tail_is_never_read(attend: Attend, device: torch.device) -> None:
    draw = Draw(23, torch.float32, device)
    buffer = draw(2, 2, 400, 64)
    buffer[:, :, 333:] = float("nan")
    query, keys, values = draw(4, 64), buffer[0, :, :333], buffer[1, :, :333]
    wanted = oracle.decode_attention(query, keys, values, 0.125)
    assert error(attend(query, keys, values, 0.125), wanted) < BOUNDS[torch.float32]


@ATTEND
def test_one_dominant_key_gives_its_value(attend: Attend, device: torch.device) -> None:
    draw = Draw(24, torch.float32, device)
    query, keys, values = draw(2, 32), 0.01 * draw(1, 300, 32), draw(1, 300, 32)
    keys[0, 290] = 1000 * query[0]
    out = attend(query[:1], keys, values, 1.0)
    assert error(out[0], values[0, 290]) < 1e-6
