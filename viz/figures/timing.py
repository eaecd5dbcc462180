"""How often sooner, over all pairs of runs: the range, what is noise, and the finding in words."""

from __future__ import annotations

import statistics

from sliminfer.engine.timing import BEYOND, Timing
from viz.figures.bars import Bar, BarChart, Group, Segment
from viz.figures.compare import FULL, NOISE, PRUNED, in_comparison
from viz.figures.table import Table
from viz.figures.words import plural, seconds, times


def timing_chart(timing: Timing) -> BarChart:
    """Median times of both sides with their range, and the speed-up against what the arithmetic allows."""
    sides = [[pair[side] for pair in timing.pairs] for side in (0, 1)]
    bars = []
    for name, role, values in zip(("full", "pruned"), (FULL, PRUNED), sides, strict=True):
        middle, low, high = statistics.median(values), min(values), max(values)
        text = f"{seconds(middle)} ({seconds(low)} to {seconds(high)})"
        bars.append(Bar(name, (Segment(middle, role),), text, (low, high)))
    rows = [
        (number, seconds(full), seconds(pruned), times(value), NOISE if at in timing.beyond else "")
        for at, (number, (full, pruned), value) in enumerate(
            zip(range(1, len(timing.pairs) + 1), timing.pairs, timing.ratios, strict=True)
        )
    ]
    found = in_comparison(timing.median, "sooner", "later") if timing.told else "cannot be told"
    return BarChart(
        "Time to first token, in turn",
        f"Median of {plural(len(timing.pairs), 'pair')}; whiskers from lowest to highest. {range_words(timing)}",
        (Group("", tuple(bars), found),),
        (),
        Table.of(
            "Time to first token, pair by pair", ("Pair", "Full", "Pruned", "Full over pruned", "Remark"), rows
        ),
    )


def range_words(timing: Timing) -> str:
    """The speed-up with its range, and how much of it is noise."""
    low, high = timing.extremes
    span = f"{times(low)} to {times(high)} as fast" if len(timing.pairs) > 1 else f"{times(low)} as fast"
    if not timing.beyond:
        return f"Pruned is {span}."
    many = f"{len(timing.beyond)} of {plural(len(timing.pairs), 'pair')}"
    return f"Pruned is {span}; {many} above the {times(timing.bound)} that the arithmetic allows, which is noise."


def began(timing: Timing) -> str:
    """When the pruned side began to answer, as the rest of a sentence, with <b> around the figure."""
    low, high = timing.extremes
    count = len(timing.pairs)
    if timing.told:
        figure = f"{timing.median:.1f} times sooner" if timing.median >= 1 else f"{1 / timing.median:.1f} times later"
        spread = f" (median of {count} pairs, {low:.2g} to {high:.2g})" if count > 1 else ""
        return f"<b>{figure}</b>{spread}"
    if timing.median > BEYOND * timing.bound:
        why = "more than the arithmetic allows, so noise"
    else:
        why = "too few runs to tell" if count == 1 else "which this machine’s noise hides"
    seen = f"{low:.2g}" if count == 1 else f"{low:.2g} to {high:.2g}"
    return f"{seen} times as fast in {plural(count, 'pair')} of runs, {why}"
