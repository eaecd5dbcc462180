"""Successive halving on a simulated model: what it picks, what it claims, what it spends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import pytest

from sliminfer.evaluate.evaluate import Variant
from sliminfer.evaluate.records import Record
from sliminfer.evaluate.tune import Outcome, Tuned, claim_for, tune
from sliminfer.schedule.config import PruneStep, SlimConfig

KEEPS = (0.8, 0.6, 0.4, 0.2, 0.1)
VARIANTS = [Variant(f"keep {keep}", SlimConfig(steps=(PruneStep(2, keep),))) for keep in KEEPS]
SPEEDUPS = {variant.label: 1 / keep for variant, keep in zip(VARIANTS, KEEPS)}


class Simulated:
    """A model whose variants agree with the full one on each example with a known probability."""

    def __init__(self, rates: Mapping[str, float], seed: int = 0) -> None:
        self.rates, self.seed = rates, seed
        self.runs: Counter[tuple[str, int]] = Counter()

    def __call__(self, variants: Sequence[Variant], first: int, end: int) -> list[Record]:
        records = []
        for variant in variants:
            for index in range(first, end):
                self.runs[variant.label, index] += 1
                agrees = Random(f"{self.seed} {variant.label} {index}").random() < self.rates[variant.label]
                records.append(Record("s", 1, index, variant.label, "", agreement=float(agrees)))
        return records


def tuned(rates: Sequence[float], examples: int, level: float = 0.99, seed: int = 0) -> tuple[Tuned | None, Simulated]:
    simulated = Simulated({variant.label: rate for variant, rate in zip(VARIANTS, rates)}, seed)
    return tune(VARIANTS, SPEEDUPS, examples, level, simulated), simulated


def test_the_fastest_schedule_that_agrees_is_chosen() -> None:
    found, simulated = tuned([1.0, 1.0, 1.0, 0.5, 0.0], 64)
    assert found is not None
    assert found.chosen.label == "keep 0.4"
    hopeless = [count for (label, _), count in simulated.runs.items() if label == "keep 0.1"]
    assert len(hopeless) == 4  # out after the first round
    assert found.claim.outcome.examples == 32


def test_the_confirming_examples_played_no_part_in_the_search() -> None:
    found, simulated = tuned([1.0] * 5, 64)
    assert found is not None
    assert {index for label, index in simulated.runs if label != found.chosen.label} <= set(range(32))


@pytest.mark.parametrize(("examples", "supported"), [(40, False), (1600, True)])
def test_no_more_is_claimed_than_the_sample_supports(examples: int, supported: bool) -> None:
    found, _ = tuned([1.0] * 5, examples)
    assert found is not None
    claim = found.claim
    assert claim.supported is supported
    assert claim.outcome.agreement == 1.0
    assert math.isclose(claim.lower, (1 - claim.confidence) ** (1 / claim.outcome.examples), rel_tol=1e-9)
    assert ("supports no more than" in claim.sentence()) is not supported


def test_partial_agreement_is_rounded_down() -> None:
    claim = claim_for(Outcome(VARIANTS[0], 10, 0.97, 9.7), 0.95, 0.9)
    assert claim.lower == claim_for(Outcome(VARIANTS[0], 10, 0.9, 9.0), 0.95, 0.9).lower


def test_nothing_is_chosen_where_nothing_agrees() -> None:
    assert tuned([0.8, 0.5, 0.5, 0.2, 0.0], 64)[0] is None


def test_the_claim_holds_as_often_as_it_says() -> None:
    """Over many repetitions the true rate lies below the bound in at most 5 %, though several were tried."""
    rates = [0.995, 0.985, 0.98, 0.975, 0.97]
    truth = dict(zip((variant.label for variant in VARIANTS), rates))
    wrong = made = 0
    for seed in range(150):
        found, _ = tuned(rates, 80, level=0.95, seed=seed)
        if found is not None:
            made += 1
            wrong += truth[found.chosen.label] < found.claim.lower
    assert made > 100
    assert wrong <= 0.05 * made


def test_failed_runs_count_as_no_agreement() -> None:
    def measure(variants: Sequence[Variant], first: int, end: int) -> list[Record]:
        return [Record("s", 1, i, v.label, "", error="out of memory") for v in variants for i in range(first, end)]

    assert tune(VARIANTS, SPEEDUPS, 16, 0.5, measure) is None
