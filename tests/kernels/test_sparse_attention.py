"""Attention over chosen blocks: kernel and torch definition against float64 under the same mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sliminfer.kernels import sparse_attention as kernel
from sliminfer.ops import block_rows
from tests.kernels.checks import BOUNDS, Draw, error, poisoned

ATTEND = pytest.mark.parametrize(
    "attend", [block_rows.sparse_attention, kernel.sparse_attention], ids=["torch", "triton"]
)
Attend = Callable[..., Tensor]


def tables(count: int, blocks: int, share: float, seed: int) -> Tensor:
    """Random tables in which every block of queries reads its own block and some before it."""
    chosen = torch.rand(count, blocks, blocks, generator=torch.Generator().manual_seed(seed)) < share
    return (chosen | torch.eye(blocks, dtype=torch.bool)).tril()


def exact(query: Tensor, keys: Tensor, values: Tensor, table: Tensor, block: int, scale: float) -> Tensor:
    heads, tokens, _ = query.shape
    seen = table.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, :tokens, :tokens].tril()
    seen = seen.repeat_interleave(heads // len(table), 0).to(query.device)
    keys, values = (x.double().repeat_interleave(heads // len(x), 0) for x in (keys, values))
    logits = query.double() @ keys.transpose(1, 2) * scale
    return (logits.masked_fill(~seen, -torch.inf).softmax(-1) @ values).transpose(0, 1)


@ATTEND
@pytest.mark.parametrize(
    ("tokens", "block", "kv_heads", "group", "tables_of", "dim"),
    [
        (200, 32, 2, 2, 2, 32),
        (129, 64, 1, 3, 3, 64),
        (64, 64, 2, 1, 1, 16),
        (90, 16, 2, 3, 1, 40),
        (7, 32, 1, 2, 1, 24),
    ],
)
def test_against_float64_under_the_same_mask(
    attend: Attend,
    tokens: int,
    block: int,
    kv_heads: int,
    group: int,
    tables_of: int,
    dim: int,
    dtype: torch.dtype,
    device: torch.device,
    monkeypatch: Any,
) -> None:
    draw = Draw(31, dtype, device)
    shapes = (tokens, kv_heads * group, dim), (tokens, kv_heads, dim), (tokens, kv_heads, dim)
    query, keys, values = (2 * draw(*shape).transpose(0, 1) for shape in shapes)
    table = tables(tables_of, -(-tokens // block), 0.4, seed=tokens).to(device)
    with poisoned(monkeypatch):
        out = attend(query, keys, values, table, block, dim**-0.5)
    assert out.dtype == dtype
    assert error(out, exact(query, keys, values, table, block, dim**-0.5)) < BOUNDS[dtype]


@ATTEND
@pytest.mark.parametrize(("tokens", "block", "first"), [(200, 32, 3), (129, 64, 2), (96, 16, 5)])
def test_the_last_blocks_of_queries_alone(
    attend: Attend, tokens: int, block: int, first: int, dtype: torch.dtype, device: torch.device, monkeypatch: Any
) -> None:
    draw = Draw(34, dtype, device)
    query, keys, values = (2 * draw(tokens, heads, 32).transpose(0, 1) for heads in (4, 2, 2))
    table = tables(2, -(-tokens // block), 0.4, seed=tokens).to(device)
    with poisoned(monkeypatch):
        out = attend(query[:, first * block :], keys, values, table[:, first:], block, 0.2)
    assert out.shape[0] == tokens - first * block
    assert error(out, exact(query, keys, values, table, block, 0.2)[first * block :]) < BOUNDS[dtype]


@ATTEND
def test_blocks_that_are_not_named_are_never_read(attend: Attend, device: torch.device) -> None:
    draw = Draw(32, torch.float32, device)
    query, keys, values = draw(2, 128, 16), draw(1, 128, 16), draw(1, 128, 16)
    table = torch.eye(4, dtype=torch.bool, device=device)[None].clone()
    table[0, 3, 0] = True
    before = attend(query, keys, values, table, 32, 0.25)
    keys[:, 32:96], values[:, 32:96] = float("nan"), float("nan")
    after = attend(query, keys, values, table, 32, 0.25)
    unread = torch.cat([after[:32], after[96:]])
    assert torch.equal(unread, torch.cat([before[:32], before[96:]]))


def test_lists_name_the_blocks_in_order_and_the_own_one_last(device: torch.device) -> None:
    table = tables(3, 9, 0.5, seed=1).to(device)
    lists, counts = kernel.block_lists(table)
    for which in range(3):
        for row in range(9):
            named = lists[which, row, : int(counts[which, row])].tolist()
            assert named == table[which, row].nonzero()[:, 0].tolist()
            assert named[-1] == row
