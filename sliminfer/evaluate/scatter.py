"""A scatter plot with error bars and its front as inline SVG, without any plotting library."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sliminfer.evaluate.pareto import pareto

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 230, 32, 48
LEGEND_LINE = 16


@dataclass(frozen=True)
class Dot:
    """One measured point with the interval of its height."""

    x: float
    y: float
    low: float
    high: float
    label: str


def scatter_svg(dots: Sequence[Dot], x_axis: str, y_axis: str, description: str) -> str:
    """The plot of at least one dot, numbered, with a legend; x starts at zero, y runs over all intervals."""
    right = nice(max(dot.x for dot in dots))
    low = max(0.0, math.floor(10 * min(dot.low for dot in dots)) / 10)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / right
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - low) / (1.0 - low or 1.0)

    parts = [f"<title>{html.escape(description)}</title>"]
    for step in range(6):
        x, y = right * step / 5, low + (1.0 - low) * step / 5
        across, up = place(x, y)
        parts.append(_line(LEFT, up, WIDTH - RIGHT, up, 'stroke="var(--line)" stroke-width="0.5"'))
        parts.append(_text(LEFT - 8, up + 4, f"{y:.2f}", "end"))
        parts.append(_text(across, HEIGHT - BOTTOM + 18, f"{x:.3g}", "middle"))
    front = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in pareto((dot.x, dot.y) for dot in dots))
    parts.append(f'<polyline points="{front}" fill="none" stroke="var(--soft)" stroke-dasharray="5 4"/>')
    for number, dot in enumerate(dots, start=1):
        across, up = place(dot.x, dot.y)
        parts.append(_line(across, place(0, dot.low)[1], across, place(0, dot.high)[1], 'stroke="var(--soft)"'))
        parts.append(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="4.5" fill="var(--ink)"/>')
        parts.append(_text(across + 7, up - 7, str(number), "start"))
        parts.append(_text(WIDTH - RIGHT + 24, TOP + LEGEND_LINE * number - 12, f"{number}  {dot.label}", "start"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_axis, "middle"))
    parts.append(_text(LEFT, TOP - 18, y_axis, "middle"))
    height = max(HEIGHT, TOP + LEGEND_LINE * (len(dots) + 1))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" font-size="12" fill="var(--ink)" '
        f'font-family="inherit">{"".join(parts)}</svg>'
    )


def nice(value: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is not below `value`."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 2.5, 5, 10) if step * scale >= value * (1 - 1e-12))


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
