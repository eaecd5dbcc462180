"""The Pareto front: what no other setting beats."""

from __future__ import annotations

import math
from collections.abc import Iterable

Point = tuple[float, float]


def pareto(points: Iterable[Point]) -> list[Point]:
    """Those of `points`, each a cost and a gain, that no other beats: by rising cost, and so by rising gain.

    One beats another that costs at least as much and gains at most as much, unless the two are equal; equal ones are
    given once. A point with a NaN is not known and takes no part.
    """
    known = {point for point in points if not any(map(math.isnan, point))}
    front: list[Point] = []
    for cost, gain in sorted(known, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front
