"""Intervals of a share seen in a sample, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson, 1927).

    `successes` may be fractional: scores in [0, 1] vary at most as much as right and wrong do, so the interval
    is then on the wide side. Without trials it is (0, 1).
    """
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a proportion (Clopper and Pearson, 1934)."""
    tail = (1 - confidence) / 2
    return lower_bound(successes, trials, 1 - tail), 1.0 - lower_bound(trials - successes, trials, 1 - tail)


def lower_bound(successes: int, trials: int, confidence: float = 0.95) -> float:
    """The exact one-sided lower bound: shares below it would give `successes` or more too rarely."""
    if successes == 0:
        return 0.0
    return _solve(lambda share: at_least(successes, trials, share) - (1 - confidence))


def trials_needed(share: float, confidence: float = 0.95) -> int:
    """Trials without a miss after which `lower_bound` reaches `share` in (0, 1)."""
    return math.ceil(math.log(1 - confidence) / math.log(share))


def at_least(successes: int, trials: int, share: float) -> float:
    """P(X >= successes) for X binomial with `trials` and probability `share`."""
    if share <= 0.0:
        return float(successes == 0)
    if share >= 1.0:
        return 1.0
    terms = (
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(share)
        + (trials - k) * math.log1p(-share)
        for k in range(successes, trials + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def _solve(rising: Callable[[float], float]) -> float:
    """The zero in [0, 1] of a function that rises from below zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return low
