"""The four figures everyone looks at first, as cards that fill while the run goes on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from sliminfer.engine.metrics import ratio
from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.engine.timing import Timing
from viz.figures.compare import FULL, PRUNED, in_comparison
from viz.figures.table import Table
from viz.figures.words import DASH, escape, rate, seconds, size


@dataclass(frozen=True)
class Card:
    """One figure of both sides; `gain` is above 1 where the pruned side does better, NaN until known.

    `instead` stands in place of the gain where the figure is not what it seems.
    """

    name: str
    meaning: str
    full: float
    pruned: float
    gain: float
    shown: Callable[[float], str]
    better: str
    worse: str
    instead: str = ""

    @property
    def verdict(self) -> str:
        """How the pruned side compares, in two words; empty until both are known."""
        return self.instead or in_comparison(self.gain, self.better, self.worse)


def cards(run: RunResult) -> tuple[Card, ...]:
    """The cards of a run so far; NaN where a figure is not known yet."""
    full, pruned = run.full, run.pruned
    out = []
    for name, meaning, figure, shown, better, worse, more_is_better in _FIGURES:
        a, b = figure(full), figure(pruned)
        gain = ratio(b, a) if more_is_better else ratio(a, b)
        out.append(Card(name, meaning, a, b, gain, shown, better, worse))
    return (_timed(out[0], run.timing), *out[1:])


def _timed(card: Card, timing: Timing | None) -> Card:
    """The card of the time to first token over all pairs that ran: medians, or that the time cannot be told."""
    if timing is None or len(timing.pairs) < 2:
        return card
    full, pruned = (statistics.median(pair[side] for pair in timing.pairs) for side in (0, 1))
    return replace(
        card, full=full, pruned=pruned, gain=timing.median, instead="" if timing.told else "within noise",
        meaning=f"{card.meaning}; medians of {len(timing.pairs)} pairs",
    )  # fmt: skip


def cards_html(run: RunResult) -> str:
    """The four cards with their table. Bars in a card share a scale; the longer one fills it."""
    inner = "".join(_card(card) for card in cards(run))
    return f'<section class="fig cards" aria-label="Time and memory of this run">{inner}</section>'


def cards_table(run: RunResult) -> Table:
    """The same figures as rows."""
    rows = [(card.name, card.shown(card.full), card.shown(card.pruned), card.verdict or DASH) for card in cards(run)]
    return Table.of("Figures of this run", ("Figure", "Full", "Pruned", "Pruned is"), rows)


def _card(card: Card) -> str:
    longest = max((v for v in (card.full, card.pruned) if math.isfinite(v)), default=0.0) or 1.0
    rows = "".join(
        f'<div class="card-row"><dt>{side}</dt><dd>{escape(card.shown(value))}</dd>'
        f'<i style="width:{100 * value / longest if math.isfinite(value) else 0:.1f}%;'
        f'background:var(--fig-{role})" aria-hidden="true"></i></div>'
        for side, value, role in (("full", card.full, FULL), ("pruned", card.pruned, PRUNED))
    )
    return (
        f'<div class="card"><h3 title="{escape(card.meaning)}">{escape(card.name)}</h3>'
        f'<p class="card-ratio">{escape(card.verdict) or DASH}</p><dl>{rows}</dl></div>'
    )


def _kv(side: SideResult) -> float:
    return float(side.metrics.prompt_kv.total_device) if side.metrics else math.nan


def _peak(side: SideResult) -> float:
    return float(side.metrics.peak_bytes) if side.metrics else math.nan


_FIGURES = (
    ("Time to first token", "From the prompt’s ids on the device to the first token on the host",
     lambda side: side.ttft_s, seconds, "sooner", "later", False),
    ("Tokens per second", "New tokens after the first over the time they took",
     lambda side: side.tokens_per_s, rate, "faster", "slower", True),
    ("Prompt’s KV cache", "Bytes of keys and values of the prompt on the device after prefill",
     _kv, size, "smaller", "larger", False),
    ("Peak memory", "Most memory taken above the loaded model at any time of the run",
     _peak, size, "smaller", "larger", False),
)  # fmt: skip
