"""Probes added up: each on its own scale, none that tells nothing, and the same after a round trip."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.diffusion.result import DiffusionResult
from sliminfer.diffusion.summary import LEAST_LOSS, DiffusionSummary, loss

LAYERS = 4


def result(losses: list[float], control: float = 0.0, full: float = -1.0) -> DiffusionResult:
    marks = len(losses)
    return DiffusionResult(
        tokens=100,
        span=(10, 20),
        removed=((8, 24),),
        layers=np.arange(LAYERS),
        attention_share=np.full(LAYERS, 0.2),
        removed_layers=np.arange(marks),
        removed_logprob=full - np.array(losses),
        random_median=np.full(marks, full - control),
        random_low=np.full(marks, full - control),
        random_high=np.full(marks, full - control),
        full_logprob=full,
        input_removed_logprob=full - losses[0],
        similarity=np.zeros((LAYERS, 10), np.float32),
        answer=(1,),
        draws=1,
        done=1,
        total=1,
    )


def test_each_probe_counts_on_its_own_scale() -> None:
    summary = DiffusionSummary.of([result([8, 8, 4, 0.5, 0], control=2), result([1, 1, 0.5, 0.0625, 0], control=0.25)])
    assert np.allclose(summary.own_loss, [[1, 1, 0.5, 0.0625, 0]] * 3)
    assert np.allclose(summary.random_loss, 0.25)
    assert np.allclose(summary.attention, 2.0)  # a fifth of the attention on a tenth of the tokens
    assert summary.half_gone == 2
    assert list(summary.free_from) == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(("losses", "gone"), [([4, 4, 4, 4, 0], 4), ([4, 0, 4, 4, 0], 4), ([4, 1, 1, 1, 0], 1)])
def test_half_is_gone_only_where_it_stays_gone(losses: list[float], gone: int) -> None:
    summary = DiffusionSummary.of([result(losses)])
    assert summary.half_gone == gone
    assert summary.free_from[1] == 0


def test_what_does_not_rest_on_the_passage_is_left_out_and_counted() -> None:
    summary = DiffusionSummary.of([result([LEAST_LOSS / 2, 0, 0, 0, 0]), result([4, 3, 2, 1, 0])])
    assert (summary.probes, summary.left_out) == (1, 1)
    with pytest.raises(ValueError, match="in none of the 1 probes"):
        DiffusionSummary.of([result([0.0] * 5)])


def test_other_layers_are_no_part_of_it() -> None:
    with pytest.raises(ValueError, match="different layers"):
        DiffusionSummary.of([result([4, 3, 2, 1, 0]), replace(result([4, 3, 2]), removed_layers=np.array([0, 2, 4]))])


@given(st.lists(st.lists(st.floats(-3, 9), min_size=5, max_size=5), min_size=1, max_size=6))
def test_a_summary_comes_back_from_its_json(losses: list[list[float]]) -> None:
    results = [result([1 + abs(first), *rest]) for first, *rest in losses]
    summary = DiffusionSummary.of(results)
    again = DiffusionSummary.from_dict(json.loads(json.dumps(summary.to_dict())))
    assert again.to_dict() == summary.to_dict()
    assert again.half_gone == summary.half_gone
    assert (np.diff(summary.own_loss, axis=0) >= 0).all()
    assert (np.diff(summary.free_from) >= 0).all()
    assert loss(results[0])[0] >= LEAST_LOSS


@pytest.mark.parametrize("broken", [{"own_loss": [[1.0]]}, {"layers": 9}, {"attention": None}])
def test_a_damaged_summary_is_none(broken: dict[str, object]) -> None:
    data = DiffusionSummary.of([result([4, 3, 2, 1, 0])]).to_dict() | broken
    with pytest.raises((ValueError, TypeError)):
        DiffusionSummary.from_dict(data)
