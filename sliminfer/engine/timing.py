"""Times to first token of both sides in turn: when they say enough, and what they may be taken to say."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sliminfer.engine.metrics import ratio
from sliminfer.schedule.blocks import Span

Pair = tuple[float, float]

SURE = 0.9  # how likely the interval must hold the true median
TIGHT = 1.1  # the interval's end over its beginning
BEYOND = 1.05  # a clock's slack: what exceeds the arithmetic by less is no contradiction
MOST_PAIRS = 25
# What disturbs a run lasts for tens of ms: longer prefills are told by fewer pairs, the longest by one.
AGREE_S, STEADY_S = 0.25, 2.0


@dataclass(frozen=True)
class Timing:
    """What alternating runs of both sides took.

    Attributes:
        pairs: (full, pruned) seconds to the first token, in the order in which they ran [pairs].
        bound: FLOPs of the full prefill over those of the pruned one: what the arithmetic alone allows.
    """

    pairs: tuple[Pair, ...]
    bound: float

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """Full over pruned, pair by pair [pairs]."""
        return tuple(ratio(full, pruned) for full, pruned in self.pairs)

    @property
    def median(self) -> float:
        """The median of `ratios`; NaN without pairs."""
        return statistics.median(self.ratios) if self.pairs else math.nan

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest of `ratios`."""
        return (min(self.ratios), max(self.ratios)) if self.pairs else (math.nan, math.nan)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the true median lies with a likelihood of `SURE`, by order statistics; None for too few pairs."""
        ranks = sure_ranks(len(self.pairs))
        if ranks is None:
            return None
        ordered = sorted(self.ratios)
        return ordered[ranks[0]], ordered[ranks[1] - 1]

    @property
    def beyond(self) -> tuple[int, ...]:
        """Pairs whose ratio exceeds what the arithmetic allows, which can be nothing but noise."""
        return tuple(at for at, value in enumerate(self.ratios) if value > BEYOND * self.bound)

    @property
    def tight(self) -> bool:
        """Whether more pairs would tell nothing new."""
        return self.interval is not None and self.interval[1] <= TIGHT * self.interval[0]

    @property
    def told(self) -> bool:
        """Whether `median` can be told as this pruning's speed-up.

        It can where the interval is tight, or where both sides took so long that what disturbs a run is small against
        them and all pairs agree; never where it exceeds what the arithmetic allows.
        """
        if not self.pairs or not self.median <= BEYOND * self.bound:
            return False
        low, high = self.extremes
        enough = STEADY_S if len(self.pairs) == 1 else AGREE_S
        steady = min(min(pair) for pair in self.pairs) >= enough and high <= TIGHT * low
        return self.tight or steady

    def wants_more(self, spent_s: float, budget_s: float) -> bool:
        """Whether another pair should run, `spent_s` of `budget_s` seconds having gone for pairs beyond the first."""
        if not self.pairs or self.told or len(self.pairs) >= MOST_PAIRS:
            return False
        return spent_s + max(sum(pair) for pair in self.pairs) <= budget_s

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        low, high = self.extremes
        return {
            "pairs": [list(pair) for pair in self.pairs],
            "median": self.median,
            "lowest": low,
            "highest": high,
            "flops": self.bound,
            "told": self.told,
            "beyond_flops": list(self.beyond),
        }


def sure_ranks(count: int) -> Span | None:
    """Half-open ranks of `count` ordered values that hold the true median with a likelihood of at least `SURE`.

    The narrowest such pair of ranks; None where even the extremes do not (fewer than 5).
    """
    found = None
    for cut in range(count // 2):
        outside = 2 * sum(math.comb(count, below) for below in range(cut + 1)) / 2**count
        if 1 - outside < SURE:
            break
        found = (cut, count - cut)
    return found
