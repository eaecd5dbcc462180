"""The most aggressive schedule that still answers like the full model, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sliminfer.evaluate.evaluate import Variant
from sliminfer.evaluate.intervals import clopper_pearson, lower_bound, trials_needed
from sliminfer.evaluate.records import Record
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors.budget import flop_speedup

# Runs variants on examples `first` to `end - 1` and gives the records.
Measure = Callable[[Sequence[Variant], int, int], Sequence[Record]]

SMALLEST_ROUND = 4
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Outcome:
    """What a variant showed on some examples.

    Attributes:
        variant: the variant.
        examples: how many runs were looked at.
        agreement: mean over the examples of the share of the full answer's tokens that it reproduces.
        total: sum of those shares.
    """

    variant: Variant
    examples: int
    agreement: float
    total: float

    def hopeless(self, level: float) -> bool:
        """Whether even the upper end of the exact interval lies below `level`."""
        return clopper_pearson(min(self.examples, math.ceil(self.total - 1e-9)), self.examples)[1] < level


@dataclass(frozen=True)
class Claim:
    """What the examples kept back for it say about the chosen variant.

    Attributes:
        outcome: on examples that played no part in choosing.
        confidence: of `lower`, after the number of variants that were put to this test.
        lower: agreement that is supported at that confidence (Clopper and Pearson, one-sided).
        level: agreement that was asked for.
    """

    outcome: Outcome
    confidence: float
    lower: float
    level: float

    @property
    def supported(self) -> bool:
        """Whether the sample supports the level that was asked for."""
        return self.lower >= self.level

    def sentence(self) -> str:
        """The claim in words, no stronger than the sample."""
        seen = f"Agreement {self.outcome.agreement:.4f} on {self.outcome.examples} fresh examples"
        if self.supported:
            return f"{seen} supports at least {self.level:g} at {self.confidence:.1%} confidence."
        needed = trials_needed(self.level, self.confidence)
        return (
            f"{seen} supports no more than {self.lower:.3f} at {self.confidence:.1%} confidence, not the "
            f"{self.level:g} asked for: that takes at least {needed} fresh examples without a miss."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "agreement": self.outcome.agreement,
            "fresh_examples": self.outcome.examples,
            "confidence": self.confidence,
            "lower_bound": self.lower,
            "supported": self.supported,
            "sentence": self.sentence(),
        }


@dataclass(frozen=True)
class Tuned:
    """The result of `tune`: the claim about the chosen variant, and every round on the way to it."""

    claim: Claim
    rounds: tuple[tuple[Outcome, ...], ...]

    @property
    def chosen(self) -> Variant:
        return self.claim.outcome.variant


def tune(
    variants: Sequence[Variant], speedups: Mapping[str, float], examples: int, level: float, measure: Measure
) -> Tuned | None:
    """Choose by successive halving (Jamieson and Talwalkar, 2016) and confirm on examples kept back.

    The first half of the examples serves the search: every round doubles the examples of the half of the
    variants that is left, the fastest of those that reach the level and then the nearest to it; what is
    statistically hopeless drops out at once. The survivors that reach the level are then put to the second half,
    fastest first, until one reaches it there too; the k-th of them at confidence 1 - 0.05 / 2^k, so that
    trying several does not weaken the claim.

    Args:
        variants: the candidates.
        speedups: FLOP speed-up of each, by label.
        examples: indices 0 to `examples - 1` may be used.
        level: agreement asked for, in (0, 1].
        measure: runs variants on a range of examples.

    Returns:
        None if no candidate reaches the level.
    """
    search = max(1, examples // 2)
    alive = list(variants)
    rounds: list[tuple[Outcome, ...]] = []
    end = min(SMALLEST_ROUND, search)
    while True:
        outcomes = outcomes_of(measure(alive, 0, end), alive)
        rounds.append(tuple(outcomes))
        hopeful = [outcome for outcome in outcomes if not outcome.hopeless(level)]
        hopeful.sort(key=lambda o: _preference(o, level, speedups))
        if end == search or not hopeful:
            break
        alive = [outcome.variant for outcome in hopeful[: math.ceil(len(hopeful) / 2)]]
        end = min(2 * end, search)
    reaching = [outcome.variant for outcome in hopeful if outcome.agreement >= level]
    if examples > search:
        for attempt, variant in enumerate(reaching, start=1):
            [outcome] = outcomes_of(measure([variant], search, examples), [variant])
            confidence = 1 - (1 - CONFIDENCE) / 2**attempt
            claim = claim_for(outcome, confidence, level)
            if outcome.agreement >= level:
                return Tuned(claim, tuple(rounds))
    return None


def claim_for(outcome: Outcome, confidence: float, level: float) -> Claim:
    """What `outcome` supports at `confidence`.

    Parts of agreement are added up and rounded down to whole successes: answers that agree in part vary less
    than right and wrong ones, so the exact bound for those is on the safe side.
    """
    lower = lower_bound(math.floor(outcome.total + 1e-9), outcome.examples, confidence)
    return Claim(outcome, confidence, lower, level)


def outcomes_of(records: Sequence[Record], variants: Sequence[Variant]) -> list[Outcome]:
    """The outcome of each variant that has finished runs; failed runs count as no agreement at all."""
    found = []
    for variant in variants:
        mine = [record for record in records if record.variant == variant.label]
        shares = [0.0 if record.error is not None else record.agreement for record in mine]
        if shares:
            found.append(Outcome(variant, len(shares), fmean(shares), math.fsum(shares)))
    return found


def speedups_at(variants: Sequence[Variant], shape: ModelShape, tokens: int) -> dict[str, float]:
    """FLOP speed-up of each variant on a prompt of `tokens` tokens, by label."""
    return {variant.label: flop_speedup(variant.config, shape, tokens) for variant in variants}


def _preference(outcome: Outcome, level: float, speedups: Mapping[str, float]) -> tuple[bool, float]:
    reaches = outcome.agreement >= level
    return (not reaches, -speedups[outcome.variant.label] if reaches else -outcome.agreement)
