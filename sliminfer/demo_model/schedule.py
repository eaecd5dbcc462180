"""What is trained when: lengths, shares and learning rate as functions of the fraction of the budget used."""

import math
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from random import Random


@dataclass
class Budget:
    """How long to train: `minutes` of wall clock, or a number of `steps`, which makes a run reproducible."""

    minutes: float | None = None
    steps: int | None = None
    started: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Start the curriculum now: what was spent before (compilation, reading) shortens the run instead."""
        spent = time.monotonic() - self.started
        if self.minutes is not None:
            self.minutes = max(0.05, self.minutes - spent / 60)
        self.started = time.monotonic()

    def fraction(self, step: int) -> float:
        """The share of the budget used when `step` begins, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, (time.monotonic() - self.started) / (60 * self.minutes))


@dataclass(frozen=True)
class Phase:
    """Until `end` (a fraction of the budget): weights of the lengths, the share of rows of dense copies, and the
    share of batches with dropping."""

    end: float
    lengths: dict[int, float]
    dense: float
    dropping: float = 0.0


# Copying has to be learned first, on short dense rows; prose at length does not teach it at this size.
FROM_SCRATCH = (
    Phase(0.06, {64: 0.6, 128: 0.4}, 0.9),
    Phase(0.11, {64: 0.2, 128: 0.4, 256: 0.4}, 0.6),
    Phase(0.17, {128: 0.2, 256: 0.5, 512: 0.3}, 0.35),
    Phase(0.26, {128: 0.1, 256: 0.3, 512: 0.4, 1024: 0.2}, 0.2),
    Phase(0.38, {256: 0.2, 512: 0.3, 1024: 0.4, 2048: 0.1}, 0.12),
    Phase(0.54, {256: 0.1, 512: 0.2, 1024: 0.3, 2048: 0.25, 4096: 0.15}, 0.10),
    Phase(0.73, {256: 0.1, 512: 0.12, 1024: 0.2, 2048: 0.25, 4096: 0.23, 8192: 0.1}, 0.10),
    Phase(1.00, {256: 0.08, 512: 0.1, 1024: 0.15, 2048: 0.2, 4096: 0.2, 8192: 0.17, 16384: 0.1}, 0.08),
)
# A run that goes on begins with short rows again, for they teach what is still missing fastest.
CONTINUED = (
    Phase(0.30, {256: 0.3, 512: 0.25, 1024: 0.2, 2048: 0.13, 4096: 0.08, 8192: 0.04}, 0.05),
    Phase(0.60, {256: 0.1, 512: 0.15, 1024: 0.2, 2048: 0.2, 4096: 0.18, 8192: 0.14, 16384: 0.08}, 0.05, 0.25),
    Phase(1.00, {256: 0.07, 512: 0.09, 1024: 0.14, 2048: 0.2, 4096: 0.2, 8192: 0.19, 16384: 0.15}, 0.04, 0.25),
)


def phase_at(phases: tuple[Phase, ...], fraction: float) -> Phase:
    """The phase that holds at a fraction of the budget."""
    return phases[min(len(phases) - 1, bisect_left([phase.end for phase in phases], fraction))]


def choose_length(rng: Random, phase: Phase, longest: int) -> int:
    """One of the phase's lengths, no longer than `longest`."""
    lengths = [min(length, longest) for length in phase.lengths]
    return rng.choices(lengths, weights=list(phase.lengths.values()))[0]


def learning_rate(fraction: float, step: int, peak: float, warmup: int = 100) -> float:
    """Linear warm-up over `warmup` steps, constant to a third of the budget, then a cosine down to 2 % of the peak."""
    warm = min(1.0, (step + 1) / warmup)
    decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * max(0.0, 1.5 * fraction - 0.5)))
    return peak * warm * decay
