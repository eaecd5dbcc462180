"""A decoded token on a buffer that a row of addresses names: kernels and torch definition against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sliminfer.kernels import kept_attention as kernel
from sliminfer.ops import reference
from tests.kernels import oracle
from tests.kernels.checks import BOUNDS, Draw, error, poisoned

FORMS = pytest.mark.parametrize("form", [reference, kernel], ids=["torch", "triton"])


def row_of(store: Tensor, held: int) -> Tensor:
    return torch.tensor([store.data_ptr(), store.shape[2], held, 0], device=store.device)


@FORMS
@pytest.mark.parametrize("held", [0, 62, 63, 64, 599])
@pytest.mark.parametrize(("kv_heads", "group", "dim"), [(1, 1, 32), (2, 3, 64), (1, 7, 96), (2, 8, 128)])
def test_attention_over_what_a_row_names(
    form: Any,
    held: int,
    kv_heads: int,
    group: int,
    dim: int,
    dtype: torch.dtype,
    device: torch.device,
    monkeypatch: Any,
) -> None:
    draw = Draw(41, dtype, device)
    query, store = draw(kv_heads * group, dim), draw(2, kv_heads, held + 5, dim)
    store[:, :, held + 1 :] = float("nan")  # room for what is to come is never read
    with poisoned(monkeypatch):
        out = form.attend_row(query, store, row_of(store, held), 0.2)
    keys, values = store[:, :, : held + 1]
    assert out.dtype == dtype
    assert error(out, oracle.decode_attention(query, keys, values, 0.2)) < BOUNDS[dtype]


@FORMS
@pytest.mark.parametrize(("dim", "rotary"), [(64, 64), (96, 96), (80, 32), (128, 128)])
def test_a_token_is_put_behind_what_is_held(
    form: Any, dim: int, rotary: int, dtype: torch.dtype, device: torch.device
) -> None:
    draw = Draw(42, dtype, device)
    query, key, value, store = draw(6, dim), draw(2, dim), draw(2, dim), draw(2, 2, 9, dim)
    angles = draw(rotary).float()
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    before, turned = store.clone(), [oracle.rope(x[None], cos[None], sin[None])[0] for x in (query, key)]
    form.append_rotated(query, key.clone(), value, cos, sin, store, row_of(store, 5))
    assert error(query, turned[0]) < BOUNDS[dtype]
    assert error(store[0, :, 5], turned[1]) < BOUNDS[dtype]
    assert torch.equal(store[1, :, 5], value)
    others = [place for place in range(9) if place != 5]
    assert torch.equal(store[:, :, others], before[:, :, others])


def test_one_row_after_another_serves_buffers_of_other_sizes(device: torch.device) -> None:
    # What a CUDA graph relies on: the row alone says where and how much.
    draw = Draw(43, torch.float32, device)
    row = torch.zeros(4, dtype=torch.int64, device=device)
    some: Callable[[], Tensor] = lambda: draw(2, 2, 1, 64)  # noqa: E731
    for held, room in ((3, 8), (200, 201), (70, 300)):
        query, store = draw(4, 64), draw(2, 2, room, 64)
        row.copy_(row_of(store, held))
        keys, values = store[:, :, : held + 1]
        wanted = oracle.decode_attention(query, keys, values, 0.125)
        assert error(kernel.attend_row(query, some(), row, 0.125), wanted) < BOUNDS[torch.float32]
