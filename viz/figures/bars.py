"""Horizontal bars, paired or stacked: one description, drawn as HTML here and as PNG in `raster`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from viz.figures.table import Table
from viz.figures.words import escape


@dataclass(frozen=True)
class Segment:
    """A part of a bar; `role` names its colour in `theme.Palette`."""

    value: float
    role: str
    name: str = ""


@dataclass(frozen=True)
class Bar:
    """A bar of one or more segments, with its name before it and `text` behind it.

    `spread` is the lowest and highest of repeated measurements, drawn as a whisker.
    """

    name: str
    segments: tuple[Segment, ...]
    text: str
    spread: tuple[float, float] | None = None

    @property
    def length(self) -> float:
        """What the bar and its whisker reach to; parts that do not exist (NaN) count nothing."""
        total = sum(s.value for s in self.segments if math.isfinite(s.value))
        return max(total, self.spread[1]) if self.spread else total


@dataclass(frozen=True)
class Group:
    """Bars that belong together, with a name and a remark on how they compare."""

    name: str
    bars: tuple[Bar, ...]
    aside: str = ""


@dataclass(frozen=True)
class BarChart:
    """Groups of bars on one common scale from zero. `legend` pairs a colour's role with what it stands for."""

    title: str
    note: str
    groups: tuple[Group, ...]
    legend: tuple[tuple[str, str], ...]
    table: Table

    @property
    def scale(self) -> float:
        """The longest bar; never zero."""
        return max((bar.length for group in self.groups for bar in group.bars), default=0.0) or 1.0

    @property
    def in_words(self) -> str:
        """All values as one sentence, for a reader who does not see the bars."""
        return ". ".join(
            f"{group.name or self.title}: "
            + ", ".join(f"{bar.name} {bar.text}" for bar in group.bars)
            + (f", {group.aside}" if group.aside else "")
            for group in self.groups
        )

    def html(self) -> str:
        """The whole figure."""
        groups = "".join(_group(group, self.scale) for group in self.groups)
        room = max((len(bar.text) for group in self.groups for bar in group.bars), default=0) + 1
        legend = "".join(
            f'<span><i style="background:var(--fig-{role})"></i>{escape(name)}</span>' for role, name in self.legend
        )
        return (
            f'<figure class="fig bars"><figcaption><strong>{escape(self.title)}</strong> {escape(self.note)}'
            f'</figcaption><div class="bars-body" style="--room:{room}ch" role="img" '
            f'aria-label="{escape(self.in_words)}">{groups}</div>'
            + (f'<div class="fig-legend">{legend}</div>' if legend else "")
            + f"{self.table.details()}</figure>"
        )


def _group(group: Group, scale: float) -> str:
    named = f'<span class="bars-group">{escape(group.name)}</span>' if group.name else ""
    aside = f'<span class="bars-aside">{escape(group.aside)}</span>' if group.aside else ""
    head = f'<div class="bars-head">{named}{aside}</div>' if named or aside else ""
    return f'<div class="bars-block">{head}{"".join(_bar(bar, scale) for bar in group.bars)}</div>'


def _bar(bar: Bar, scale: float) -> str:
    parts = "".join(
        f'<i style="width:{100 * s.value / bar.length:.2f}%;background:var(--fig-{s.role})"></i>'
        for s in bar.segments
        if math.isfinite(s.value) and s.value > 0
    )
    whisker = ""
    if bar.spread and bar.length:
        low, high = (100 * value / bar.length for value in bar.spread)
        whisker = f'<b style="left:{low:.2f}%;width:{high - low:.2f}%"></b>'
    return (
        f'<div class="bars-row"><span class="bars-name">{escape(bar.name)}</span>'
        f'<span class="bars-track"><span class="bars-bar" style="--w:{bar.length / scale:.4f}">{parts}{whisker}'
        f'</span><span class="bars-text">{escape(bar.text)}</span></span></div>'
    )
