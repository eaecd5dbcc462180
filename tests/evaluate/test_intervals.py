"""Intervals against published values and against each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.evaluate.intervals import at_least, clopper_pearson, lower_bound, trials_needed, wilson


def test_textbook_values() -> None:
    # 95 of 100: Wilson and exact interval as in tables of both.
    assert wilson(95, 100) == pytest.approx((0.8882, 0.9785), abs=1e-4)
    assert clopper_pearson(95, 100) == pytest.approx((0.8872, 0.9836), abs=1e-4)
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)


def test_no_miss_in_299_is_what_supports_99_percent() -> None:
    assert trials_needed(0.99) == 299
    assert lower_bound(299, 299) > 0.99 > lower_bound(298, 298)


def test_no_trials_say_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 80).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_hold_the_share_and_the_exact_bound_has_its_tail(sample: tuple[int, int]) -> None:
    right, trials = sample
    for low, high in (wilson(right, trials), clopper_pearson(right, trials)):
        assert 0.0 <= low <= right / trials <= high <= 1.0
    bound = lower_bound(right, trials)
    if right:
        assert math.isclose(at_least(right, trials, bound), 0.05, rel_tol=1e-6)
