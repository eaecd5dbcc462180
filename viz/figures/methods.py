"""Several methods on one document, and many settings on one task: tables, strips, and accuracy against time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Literal

import numpy as np

from sliminfer.engine.metrics import Comparison, RunMetrics
from sliminfer.evaluate.pareto import Point, pareto
from viz.figures.chart import Axis, Chart, Line, Points, Symbol, Values, values
from viz.figures.grid import SHARES, Grid, share_levels
from viz.figures.kept_map import KeptMap, kept_tile
from viz.figures.table import Table
from viz.figures.words import DASH, number, percent, plural, seconds, size, times

WIDTH = 1024
Join = Literal["front", "methods"]


@dataclass(frozen=True)
class MethodRun:
    """One method's run on the document: its figures, its answer, and how it compares with the full model."""

    name: str
    metrics: RunMetrics
    text: str
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Outcome:
    """One method under one setting on a task.

    Attributes:
        name: the method, in whose colour and under whose name it is drawn.
        setting: what distinguishes it from the method's other outcomes, as in "4:0.25,8:0.125".
        accuracy: share of right answers, in [0, 1]; NaN where nobody knows the answer.
        ttft_s: median time to first token in seconds.
        kv_bytes: median bytes of the prompt's KV cache on the device; NaN where it is not known.
    """

    name: str
    setting: str
    accuracy: float
    ttft_s: float
    kv_bytes: float = nan


def methods_table(runs: Sequence[MethodRun]) -> Table:
    """One row per method: time, memory, what its deepest layer saw, fidelity and answer."""
    rows = []
    for run in runs:
        m, c = run.metrics, run.comparison
        rows.append(
            (
                run.name,
                seconds(m.ttft_s),
                times(c.ttft) if c else "1",
                times(c.ttft_flops) if c else "1",
                size(m.prompt_kv.total_device),
                percent(min(m.tokens_per_layer) / m.prompt_tokens),
                number(c.first_token_kl) if c else "0",
                percent(c.agreement) if c else percent(1.0),
                run.text.strip(),
            )
        )
    columns = (
        "Method", "TTFT", "Speed-up", "By FLOPs", "Prompt’s KV", "Deepest layer saw", "First-token KL", "Agreement",
        "Answer",
    )  # fmt: skip
    return Table.of("Methods on this document", columns, rows)


def methods_grid(maps: Mapping[str, KeptMap]) -> Grid:
    """One row per method over the same positions: the share of the layers that each column's tokens survived.

    All maps must be of one prompt; raises ValueError if there is none.
    """
    if not maps:
        raise ValueError("no method has been run: draw the strips after at least one")
    tiles = {name: kept_tile(kept, (0, kept.layers), (0, kept.tokens), WIDTH) for name, kept in maps.items()}
    tile = next(iter(tiles.values()))
    rows = [(name, percent(float(kept.survived.mean()) / kept.layers)) for name, kept in maps.items()]
    return Grid(
        title="What each method keeps",
        note="The bluer, the more layers the tokens survived; at the right the mean over the prompt.",
        cells=share_levels(np.stack([tile.survived for tile in tiles.values()])),
        levels=SHARES,
        rows=tuple(maps),
        row_axis="",
        column_axis=f"original position, {plural(tile.bin, 'token')} per column",
        start=0,
        end=tile.extent,
        legend=(("kept", "every layer"), ("dropped", "no layer")),
        table=Table.of("Mean share of the layers survived", ("Method", "Share"), rows),
        remarks=tuple((row, row + 1, share) for row, (_, share) in enumerate(rows)),
    )


@dataclass(frozen=True)
class Cost:
    """What accuracy is traded for: a field of `Outcome`, what it is called, and its unit on the axis and in words."""

    field: str
    name: str
    axis: Axis
    scale: float
    words: Callable[[float], str]

    def of(self, outcome: Outcome) -> float:
        """The cost of an outcome, in its own unit."""
        return float(getattr(outcome, self.field))


TTFT = Cost("ttft_s", "time to first token", Axis("time to first token, s", log=True), 1.0, seconds)
KV = Cost("kv_bytes", "prompt’s KV cache", Axis("KV cache of the prompt, MB", log=True), 1e-6, size)


def accuracy_chart(
    outcomes: Sequence[Outcome], yours: Outcome | None = None, join: Join | None = None, cost: Cost = TTFT
) -> Chart:
    """Accuracy against a cost, a colour and a shape per method.

    `yours` marks the visitor's own run, by its cost alone where its accuracy is NaN. `join` leads a line through
    the outcomes that no other beats ("front", where many settings were swept), or through each method's own as
    they come ("methods", where each was run at several budgets).
    """

    def costs(found: Iterable[Outcome]) -> Values:
        return values([cost.scale * cost.of(outcome) for outcome in found])

    def point(outcome: Outcome) -> Point:
        return cost.of(outcome), outcome.accuracy

    names = list(dict.fromkeys(outcome.name for outcome in outcomes))
    marks: list[Line | Points] = []
    best = pareto(map(point, outcomes))
    if join == "front":
        reached, heights = values([cost.scale * spent for spent, _ in best]), values([gain for _, gain in best])
        marks.append(Line("best of the sweep", reached, heights, "muted", "dash", steps=True))
    for name, (role, symbol) in _styles(names).items():
        own = [outcome for outcome in outcomes if outcome.name == name]
        heights = values([outcome.accuracy for outcome in own])
        labels, hints = tuple("" for _ in own), tuple(outcome.setting for outcome in own)
        marks.append(Points(name, costs(own), heights, labels, role, symbol, hints, joined=join == "methods"))
    if yours is not None and isfinite(yours.accuracy):
        marks.append(Points("your run", costs([yours]), values([yours.accuracy]), ("your run",), "ink", "cross"))
    elif yours is not None:
        marks.append(Line("your run", costs([yours, yours]), values(_reach(outcomes)), "ink", "dash"))
    rows = [
        (
            o.name,
            o.setting,
            percent(o.accuracy),
            cost.words(cost.of(o)),
            "yes" if point(o) in best else "no",
        )
        for o in outcomes
    ]
    if yours is not None:
        rows.append(("your run", yours.setting, percent(yours.accuracy), cost.words(cost.of(yours)), DASH))
    title = f"Accuracy against {cost.name}"
    note = "Up is more accurate, left is cheaper." if cost is KV else "Up is more accurate, left is faster."
    if join == "methods":
        note += " A line is one method, saving more and more arithmetic."
    return Chart(
        title=title,
        note=note,
        x=cost.axis,
        y=Axis("accuracy", percent=True),
        marks=tuple(marks),
        table=Table.of(
            title,
            ("Method", "Setting", "Accuracy", "TTFT" if cost is TTFT else "KV cache", "Beaten by none"),
            rows,
        ),
    )


def _reach(outcomes: Iterable[Outcome]) -> tuple[float, float]:
    """From the lowest accuracy to the highest there can be."""
    return min((outcome.accuracy for outcome in outcomes), default=0.0), 1.0


def _styles(names: Iterable[str]) -> dict[str, tuple[str, Symbol]]:
    """Colour role and shape of each method; methods that somebody registered get what is left, in turn."""
    free = ((role, symbol) for symbol in _SHAPES for role in _ROLES)
    left = (style for style in free if style not in _KNOWN.values())
    return {name: _KNOWN.get(name) or next(left) for name in names}


# Ours are blue, and no two methods that ship with the project share a colour.
_KNOWN: dict[str, tuple[str, Symbol]] = {
    "full": ("plain", "circle"),
    "random": ("olive", "square"),
    "oracle": ("violet", "diamond"),
    "sliminfer": ("kept", "circle"),
    "adaptive": ("sky", "diamond"),
    "sliminfer-draft": ("kept", "square"),
    "self-draft": ("kept", "triangle"),
    "specprefill": ("fresh", "circle"),
    "bm25": ("olive", "triangle"),
    "embedding": ("brick", "triangle"),
    "claa": ("sky", "triangle"),
    "asl": ("rose", "circle"),
    "keydiff": ("violet", "triangle"),
    "fastkv": ("fresh", "square"),
    "gemfilter": ("rose", "diamond"),
    "lazyllm": ("warm", "square"),
    "streaming": ("brick", "diamond"),
}
_ROLES = ("warm", "fresh", "kept", "plain", "sky", "rose", "brick", "violet", "olive")
_SHAPES: tuple[Symbol, ...] = ("square", "diamond", "triangle", "cross")
