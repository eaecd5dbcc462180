"""Every figure as a PNG, drawn with Pillow alone: no browser, no network, the same on every machine."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from viz.figures.bars import BarChart
from viz.figures.canvas import Canvas
from viz.figures.chart import Axis, Band, Chart, Line, Points, Rule, Values, values
from viz.figures.grid import Grid
from viz.figures.theme import LIGHT, Palette
from viz.figures.words import number, percent

WIDTH = 1000
_LEFT, _RIGHT, _MARGIN = 110, 90, 24


@singledispatch
def figure_png(figure: Grid | BarChart | Chart, palette: Palette = LIGHT) -> bytes:
    """`figure` with its title, legend and axes as PNG bytes, twice as many pixels as its nominal 1000 across."""
    raise TypeError(f"no PNG drawing for {type(figure).__name__}")


@figure_png.register
def _grid(grid: Grid, palette: Palette = LIGHT) -> bytes:
    rows, height = grid.cells.shape[0], grid.row_height
    top = 78 + 16 * len(grid.strips)
    bottom = top + rows * height
    canvas = Canvas(WIDTH, bottom + (90 if grid.below is None else 112), palette)
    left, right = _LEFT + _MARGIN, WIDTH - _RIGHT - _MARGIN
    _title(canvas, grid.title, grid.note)
    for index, strip in enumerate(grid.strips):
        y = 66 + 16 * index
        canvas.text(left - 8, y + 5, strip.name, size=11, anchor="rm")
        canvas.box((left, y, right, y + 10), "dropped")
        for role, (start, end) in strip.spans:
            a, b = (min(1.0, max(0.0, grid.across(position))) for position in (start, end))
            if b > 0 and a < 1:
                x = left + a * (right - left)
                canvas.box((x, y, max(x + 2, left + b * (right - left)), y + 10), role)
    canvas.cells((left, top, right, bottom), grid.cells, grid.levels)
    canvas.text(_MARGIN, top - 12, grid.row_axis, size=11)
    for row, label in grid.shown_rows():
        canvas.text(left - 8, top + row * height, label, size=11, anchor="rm")
    for row, label in grid.rules:
        canvas.box((left, top + row * height - 1, right, top + row * height + 1), "warm")
        canvas.text(left - 8, top + (row + 0.5) * height, label, role="ink", size=11, anchor="rm")
    for first, end, text in grid.remarks:
        canvas.text(right + 8, top + (first + end) / 2 * height, text, role="ink", size=11, anchor="lm")
    if grid.below is not None:
        name, cells = grid.below
        canvas.cells((left, bottom + 8, right, bottom + 20), cells[None, :], grid.levels)
        canvas.text(left - 8, bottom + 14, name, size=11, anchor="rm")
        bottom += 22
    for place, label in grid.ticks():
        x = left + place * (right - left)
        canvas.line([(x, bottom + 2), (x, bottom + 7)], "muted")
        canvas.text(x, bottom + 10, label, size=11, anchor="la" if place < 0.02 else "ma")
    canvas.text((left + right) / 2, bottom + 28, grid.column_axis, size=11, anchor="ma")
    _legend(canvas, left, bottom + 58, [(role, name, "box") for role, name in grid.legend])
    return canvas.png()


@figure_png.register
def _bars(chart: BarChart, palette: Palette = LIGHT) -> bytes:
    heights = [26 * bool(group.name or group.aside) + 24 * len(group.bars) + 12 for group in chart.groups]
    legend = [(role, name, "box") for role, name in chart.legend]
    canvas = Canvas(WIDTH, 76 + sum(heights) + 40 * bool(legend) + 16, palette)
    _title(canvas, chart.title, chart.note)
    texts = [bar.text for group in chart.groups for bar in group.bars]
    names = [bar.name for group in chart.groups for bar in group.bars]
    left = _MARGIN + 12 + max((canvas.text_width(name) for name in names), default=0)
    room = WIDTH - _MARGIN - left - 12 - max((canvas.text_width(text) for text in texts), default=0)
    y = 76.0
    for group in chart.groups:
        if group.name or group.aside:
            canvas.text(_MARGIN, y, group.name, role="ink", size=13)
            canvas.text(WIDTH - _MARGIN, y, group.aside, role="ink", size=13, anchor="ra")
            y += 26
        for bar in group.bars:
            canvas.text(left - 10, y + 8, bar.name, anchor="rm")
            x = left
            for segment in bar.segments:
                if math.isfinite(segment.value):
                    width = room * segment.value / chart.scale
                    canvas.box((x, y, x + width, y + 16), segment.role)
                    x += width
            end = left + room * bar.length / chart.scale
            if bar.spread is not None:
                low, high = (left + room * value / chart.scale for value in bar.spread)
                canvas.line([(low, y + 8), (high, y + 8)], "ink")
                for at in (low, high):
                    canvas.line([(at, y + 4), (at, y + 12)], "ink")
            canvas.text(max(x, end) + 8, y + 8, bar.text, role="ink", anchor="lm")
            y += 24
        y += 12
    _legend(canvas, left, y + 8, legend)
    return canvas.png()


@figure_png.register
def _chart(chart: Chart, palette: Palette = LIGHT) -> bytes:
    canvas = Canvas(WIDTH, 520, palette)
    _title(canvas, chart.title, chart.note)
    left, right, top, bottom = 96.0, WIDTH - 32.0, 104.0, 452.0
    (x_low, x_high), (y_low, y_high) = chart.limits()

    def across(value: float) -> float:
        return left + _place(value, x_low, x_high, chart.x.log) * (right - left)

    def up(value: float) -> float:
        return bottom - _place(value, y_low, y_high, chart.y.log) * (bottom - top)

    for value in _ticks(y_low, y_high, chart.y.log):
        canvas.line([(left, up(value)), (right, up(value))], "rule")
        canvas.text(left - 8, up(value), _shown(value, chart.y), size=11, anchor="rm")
    for value in _ticks(x_low, x_high, chart.x.log):
        canvas.line([(across(value), bottom), (across(value), bottom + 5)], "muted")
        canvas.text(across(value), bottom + 9, _shown(value, chart.x), size=11, anchor="ma")
    canvas.line([(left, bottom), (right, bottom)], "muted")
    canvas.text((left + right) / 2, bottom + 30, chart.x.title, anchor="ma")
    canvas.text(_MARGIN, top - 22, chart.y.title)
    for mark in chart.marks:
        match mark:
            case Band():
                good = _drawable(chart.x, mark.x) & _drawable(chart.y, mark.low) & _drawable(chart.y, mark.high)
                upper = [(across(x), up(y)) for x, y in zip(mark.x[good], mark.high[good], strict=True)]
                lower = [(across(x), up(y)) for x, y in zip(mark.x[good], mark.low[good], strict=True)]
                if len(upper) > 1:
                    canvas.area([*upper, *lower[::-1]], mark.role, 0.2)
            case Line():
                dash = {"solid": 0.0, "dash": 7.0, "dot": 3.0}[mark.dash]
                for piece in _pieces(mark, chart):
                    points = [(across(x), up(y)) for x, y in piece]
                    canvas.line(points, mark.role, 2, dash)
                    if mark.markers or len(points) == 1:
                        for x, y in points:
                            canvas.dot(x, y, mark.role, 3.5)
            case Points():
                good = _drawable(chart.x, mark.x) & _drawable(chart.y, mark.y)
                if mark.joined:
                    places = zip(mark.x[good], mark.y[good], strict=True)
                    canvas.line([(across(x), up(y)) for x, y in places], mark.role)
                for x, y, label in zip(mark.x[good], mark.y[good], np.array(mark.labels)[good].tolist(), strict=True):
                    canvas.dot(across(x), up(y), mark.role, 6, mark.symbol)
                    canvas.text(across(x), up(y) - 22, label, role="ink", size=11, anchor="ma")
            case Rule():
                at = across(mark.value) if mark.vertical else up(mark.value)
                ends = [(at, top), (at, bottom)] if mark.vertical else [(left, at), (right, at)]
                canvas.line(ends, mark.role, 1.5, 6)
                canvas.text(right, ends[0][1] - 16, mark.name, size=11, anchor="ra")
    named = [(mark.role, mark.name, _shape(mark)) for mark in chart.marks if not isinstance(mark, Rule)]
    _legend(canvas, left, 64, named)
    return canvas.png()


def _title(canvas: Canvas, title: str, note: str) -> None:
    canvas.text(_MARGIN, 16, title, role="ink", size=16, bold=True)
    canvas.text(_MARGIN, 40, note, size=12)


def _legend(canvas: Canvas, x: float, y: float, items: list[tuple[str, str, str]]) -> None:
    for role, name, shape in items:
        if shape == "line":
            canvas.box((x, y + 4, x + 16, y + 6), role)
        elif shape == "box":
            canvas.box((x, y, x + 16, y + 10), role)
        else:
            canvas.dot(x + 8, y + 5, role, 6, shape)
        canvas.text(x + 22, y + 5, name, anchor="lm")
        x += 44 + canvas.text_width(name)


def _shape(mark: Line | Band | Points) -> str:
    """How a mark is shown in the legend."""
    if isinstance(mark, Points):
        return mark.symbol
    return "line" if isinstance(mark, Line) else "box"


def _drawable(axis: Axis, data: Values) -> NDArray[np.bool_]:
    """Which values have a place on `axis`."""
    return np.isfinite(data) & ((data > 0) | (not axis.log))


def _pieces(line: Line, chart: Chart) -> list[list[tuple[float, float]]]:
    """The line's points between gaps, with corners added where it holds its value."""
    pieces: list[list[tuple[float, float]]] = [[]]
    good = _drawable(chart.x, line.x) & _drawable(chart.y, line.y)
    for x, y, drawable in zip(line.x.tolist(), line.y.tolist(), good.tolist(), strict=True):
        if not drawable:
            pieces.append([])
            continue
        if line.steps and pieces[-1]:
            pieces[-1].append((x, pieces[-1][-1][1]))
        pieces[-1].append((x, y))
    return [piece for piece in pieces if piece]


def _place(value: float, low: float, high: float, log: bool) -> float:
    if log:
        value, low, high = math.log10(value), math.log10(low), math.log10(high)
    return (value - low) / (high - low)


def _ticks(low: float, high: float, log: bool) -> Values:
    """About six round values in [low, high]."""
    if log:
        found = [m * 10.0**e for e in range(-9, 16) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
        return values(found or [low, high])
    raw = (high - low) / 6
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(m * base for m in (1, 2, 2.5, 5, 10) if m * base >= raw)
    return values(np.arange(math.ceil(low / step), math.floor(high / step) + 1)) * step


def _shown(value: float, axis: Axis) -> str:
    return percent(value) if axis.percent else number(0.0 if abs(value) < 1e-12 else value)
