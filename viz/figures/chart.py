"""A chart of curves and points as plain data: drawn by `plotly_chart` for the page, by `raster` as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from viz.figures.table import Table
from viz.figures.words import escape

Values: TypeAlias = NDArray[np.float64]
Dash = Literal["solid", "dash", "dot"]
Symbol = Literal["circle", "square", "diamond", "triangle", "cross"]


@dataclass(frozen=True)
class Line:
    """A curve through (x, y); gaps where y is NaN. `steps` holds each value until the next x."""

    name: str
    x: Values
    y: Values
    role: str
    dash: Dash = "solid"
    markers: bool = False
    steps: bool = False


@dataclass(frozen=True)
class Band:
    """The area between `low` and `high` over x."""

    name: str
    x: Values
    low: Values
    high: Values
    role: str


@dataclass(frozen=True)
class Points:
    """Single points with a label beside each, empty for none.

    `hints` say more about each under the pointer; `joined` leads a thin line through them as they come.
    """

    name: str
    x: Values
    y: Values
    labels: tuple[str, ...]
    role: str
    symbol: Symbol = "circle"
    hints: tuple[str, ...] = ()
    joined: bool = False


@dataclass(frozen=True)
class Rule:
    """A line across the whole chart at `value` of the x axis (`vertical`) or of the y axis."""

    name: str
    value: float
    role: str
    vertical: bool = False


Mark: TypeAlias = Line | Band | Points | Rule


@dataclass(frozen=True)
class Axis:
    """An axis: its title, whether it is logarithmic, and its range, from the data where None.

    `percent` shows shares in [0, 1] as percentages.
    """

    title: str
    log: bool = False
    percent: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Chart:
    """Marks over two axes, drawn in order, with a title, a sentence on how to read it, and its table."""

    title: str
    note: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    table: Table

    def caption(self) -> str:
        """Title and note as HTML, to stand above the drawing; the table's `details()` belong below it."""
        return (
            f'<div class="fig"><p class="fig-caption"><strong>{escape(self.title)}</strong> '
            f"{escape(self.note)}</p></div>"
        )

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of both axes that hold every mark, with a little air; vertical rules count for x only."""
        xs: list[Values] = []
        ys: list[Values] = []
        for mark in self.marks:
            match mark:
                case Line() | Points():
                    xs.append(mark.x)
                    ys.append(mark.y)
                case Band():
                    xs.append(mark.x)
                    ys.extend((mark.low, mark.high))
                case Rule():
                    (xs if mark.vertical else ys).append(np.array([mark.value]))
        return _limits(xs, self.x), _limits(ys, self.y)


def values(data: ArrayLike) -> Values:
    """Any sequence of numbers as float64."""
    return np.asarray(data, np.float64)


def _limits(found: Sequence[Values], axis: Axis) -> tuple[float, float]:
    data = np.concatenate([values(part).ravel() for part in found]) if found else np.zeros(0)
    data = data[np.isfinite(data)]
    if axis.log:
        data = data[data > 0]
    if not len(data):
        data = values([1, 10] if axis.log else [0, 1])
    low, high = float(data.min()), float(data.max())
    if axis.log:
        low, high = low / 1.15, high * 1.15
    else:
        air = 0.04 * (high - low) or 0.5
        low, high = low - air, high + air
    return (low if axis.low is None else axis.low), (high if axis.high is None else axis.high)
