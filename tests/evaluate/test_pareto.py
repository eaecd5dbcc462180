"""The front holds what no other beats, and nothing else."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sliminfer.evaluate.pareto import Point, pareto

COORDINATE = st.integers(0, 6).map(float) | st.just(math.nan)


def beats(one: Point, other: Point) -> bool:
    return one != other and one[0] <= other[0] and one[1] >= other[1]


@given(st.lists(st.tuples(COORDINATE, COORDINATE), max_size=20))
def test_the_front_is_what_none_beats_once_each_by_rising_cost(points: list[Point]) -> None:
    front = pareto(points)
    known = {point for point in points if not any(map(math.isnan, point))}
    assert set(front) == {point for point in known if not any(beats(other, point) for other in known)}
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(front))
