"""Block scores: kernel and torch definition against a float64 softmax with an explicit mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sliminfer.kernels import block_scores as kernel
from sliminfer.ops import reference
from tests.kernels import oracle
from tests.kernels.checks import BOUNDS, Draw, error, poisoned

SCORERS = pytest.mark.parametrize("score", [reference.block_scores, kernel.block_scores], ids=["torch", "triton"])
Score = Callable[..., Tensor]


def blocks_of(units: int, unit_size: int, block_size: int, device: torch.device) -> tuple[Tensor, int]:
    owner = torch.arange(units, device=device) * unit_size // block_size
    return owner, int(owner[-1]) + 1


@SCORERS
@pytest.mark.parametrize("aggregate", ["max", "mean"])
@pytest.mark.parametrize(
    ("tokens", "window", "unit_size", "kv_heads", "group", "dim"),
    [
        (1, 1, 1, 1, 1, 32),  # one token sees itself
        (63, 5, 1, 2, 3, 64),
        (64, 16, 8, 1, 8, 96),
        (65, 9, 4, 2, 2, 128),  # a partial unit and a partial block
        (423, 16, 1, 1, 7, 64),  # several row and unit tiles, several splits
    ],
)
def test_prefill(
    score: Score,
    aggregate: str,
    tokens: int,
    window: int,
    unit_size: int,
    kv_heads: int,
    group: int,
    dim: int,
    dtype: torch.dtype,
    device: torch.device,
    monkeypatch: Any,
) -> None:
    draw = Draw(11, dtype, device)
    queries = 2 * draw(kv_heads * group, window, dim)
    keys = reference.unit_keys(draw(kv_heads, tokens, dim), unit_size)
    owner, blocks = blocks_of(keys.shape[1], unit_size, 16, device)
    arguments = (queries, keys, owner, blocks, 1 / math.sqrt(dim), aggregate, unit_size, tokens)
    wanted = oracle.block_scores(*arguments)
    with poisoned(monkeypatch):
        out = score(*arguments)
    assert out.dtype == torch.float32
    assert error(out, wanted) < BOUNDS[dtype]


@SCORERS
@pytest.mark.parametrize("units", [1, 63, 64, 65, 300])
def test_one_decoded_query_sees_every_unit(
    score: Score, units: int, dtype: torch.dtype, device: torch.device, monkeypatch: Any
) -> None:
    draw = Draw(12, dtype, device)
    queries, keys = draw(8, 1, 64), draw(2, units, 64)
    owner, blocks = blocks_of(units, 8, 32, device)
    arguments = (queries, keys, owner, blocks, 0.125, "max", 1, None)
    with poisoned(monkeypatch):
        out = score(*arguments)
    assert error(out, oracle.block_scores(*arguments)) < BOUNDS[dtype]


@SCORERS
@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_a_block_without_units_scores_zero(score: Score, aggregate: str, device: torch.device) -> None:
    draw = Draw(13, torch.float32, device)
    owner = torch.tensor([1, 1, 3], device=device)
    out = score(draw(2, 2, 32), draw(1, 3, 32), owner, 6, 0.2, aggregate)
    assert out[[0, 2, 4, 5]].tolist() == [0.0] * 4
    assert (out[[1, 3]] > 0).all()


@SCORERS
def test_no_units_at_all_score_zero(score: Score, device: torch.device) -> None:
    draw = Draw(14, torch.float32, device)
    out = score(draw(2, 2, 32), draw(1, 0, 32), torch.empty(0, dtype=torch.int64, device=device), 3, 0.2, "max")
    assert out.tolist() == [0.0] * 3


@SCORERS
@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_queries_that_see_nothing_add_nothing(score: Score, aggregate: str, device: torch.device) -> None:
    """With units of 8 and a window of 12, the first queries lie inside the first unit: all is hidden."""
    draw = Draw(15, torch.float32, device)
    queries, keys = draw(2, 12, 32), draw(1, 2, 32)
    owner = torch.tensor([0, 1], device=device)
    arguments = (queries, keys, owner, 2, 0.2, aggregate, 8, 12)
    out = score(*arguments)
    assert error(out, oracle.block_scores(*arguments)) < 1e-6
    if aggregate == "max":
        assert out[0] == 1.0  # queries 7 to 10 see the first unit alone


@SCORERS
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_query_that_is_not_finite_is_left_out(score: Score, bad: float, device: torch.device) -> None:
    draw = Draw(16, torch.float32, device)
    queries, keys = draw(2, 4, 32), draw(1, 70, 32).abs()
    owner, blocks = blocks_of(70, 1, 16, device)
    queries[1, 2, 5] = bad
    out = score(queries, keys, owner, blocks, 0.2, "max")
    assert out.isfinite().all()
    assert error(out, oracle.block_scores(queries, keys, owner, blocks, 0.2, "max", 1, None)) < 1e-5


@SCORERS
def test_extreme_logits_stay_probabilities(score: Score, device: torch.device) -> None:
    draw = Draw(17, torch.float32, device)
    queries, keys = 300 * draw(4, 3, 32), draw(2, 130, 32)
    owner, blocks = blocks_of(130, 1, 16, device)
    out = score(queries, keys, owner, blocks, 1.0, "max")
    assert ((out >= 0) & (out <= 1 + 1e-5)).all()
    assert float(out.max()) == pytest.approx(1.0, abs=1e-4)


@SCORERS
def test_keys_may_be_a_view_of_a_larger_buffer(score: Score, device: torch.device) -> None:
    draw = Draw(18, torch.float32, device)
    buffer = draw(2, 100, 64)
    queries, keys = draw(6, 2, 64), buffer[:, :70]
    owner, blocks = blocks_of(70, 1, 16, device)
    assert torch.equal(
        score(queries, keys, owner, blocks, 0.1, "max"), score(queries, keys.contiguous(), owner, blocks, 0.1, "max")
    )


def test_the_row_tiles_of_the_torch_definition_do_not_matter(monkeypatch: Any, device: torch.device) -> None:
    draw = Draw(19, torch.float32, device)
    queries, keys = draw(6, 5, 32), draw(2, 90, 32)
    owner, blocks = blocks_of(90, 1, 16, device)
    arguments = (queries, keys, owner, blocks, 0.2, "max", 1, 90)
    whole = reference.block_scores(*arguments)
    monkeypatch.setattr(reference, "_SCORE_ELEMENTS", 90 * 4)
    assert error(reference.block_scores(*arguments), whole) < 1e-6
