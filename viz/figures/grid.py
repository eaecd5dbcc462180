"""A map of cells, rows down and positions or steps across, with strips, rules and remarks around it.

One description for every such figure (kept tokens, residency, similarity, methods), drawn as HTML here and
as PNG in `raster`. Cells hold a level each; a level is a colour role with an opacity.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sliminfer.schedule.blocks import Span
from viz.figures.table import Table
from viz.figures.theme import LIGHT, rgb
from viz.figures.words import count, escape

Level = tuple[str, float]  # colour role, opacity
SHARES: tuple[Level, ...] = tuple(("kept", level / 255) for level in range(256))


@dataclass(frozen=True)
class Strip:
    """A thin band above the cells: ranges of the column axis in a colour role each."""

    name: str
    spans: tuple[tuple[str, Span], ...]


@dataclass(frozen=True)
class Grid:
    """Cells with everything drawn around them.

    Attributes:
        cells: index into `levels` of each cell, uint8 [rows, columns].
        levels: what each index looks like.
        rows: label of each row; empty for none.
        start, end: what the left and right edge of the cells stand for on the column axis.
        rules: (row, label) of lines drawn above that row.
        remarks: (first row, row after the last, text) shown at the right of those rows.
        strips: bands above the cells.
        legend: (colour role, meaning) pairs.
        below: one more row of cells under the others, uint8 [columns], with its label.
        tall: pixels that all rows share.
        over: HTML laid over the cells.
    """

    title: str
    note: str
    cells: NDArray[np.uint8]
    levels: tuple[Level, ...]
    rows: tuple[str, ...]
    row_axis: str
    column_axis: str
    start: float
    end: float
    legend: tuple[tuple[str, str], ...]
    table: Table
    rules: tuple[tuple[int, str], ...] = ()
    remarks: tuple[tuple[int, int, str], ...] = ()
    strips: tuple[Strip, ...] = ()
    below: tuple[str, NDArray[np.uint8]] | None = None
    tall: int = 352
    over: str = ""

    @property
    def row_height(self) -> int:
        """Pixels per row."""
        return max(3, min(22, self.tall // max(1, len(self.cells))))

    def across(self, position: float) -> float:
        """Where `position` of the column axis lies, 0 at the left edge and 1 at the right."""
        return (position - self.start) / (self.end - self.start)

    def shown_rows(self) -> list[tuple[float, str]]:
        """Middle of the row in rows, and label, of those labels that fit; ruled rows are left to the rules."""
        every = -(-15 // self.row_height)
        ruled = [row for row, _ in self.rules]
        return [
            (row + 0.5, label)
            for row, label in enumerate(self.rows)
            if label and row % every == 0 and all(abs(row - other) >= every for other in ruled)
        ]

    def ticks(self) -> list[tuple[float, str]]:
        """Place in [0, 1] and label of about five ticks of the column axis, at powers of two or ten."""
        length = self.end - self.start
        step = next(s for s in _STEPS if length / s <= 6)
        first = -(-int(self.start) // step) * step
        return [(self.across(at), count(at)) for at in range(first, int(self.end) + 1, step) if self.across(at) <= 0.97]

    def html(self) -> str:
        """The whole figure."""
        height = self.row_height
        rows = len(self.cells)
        alt = f"{self.title}. {self.note}"
        legend = "".join(
            f'<span><i style="background:var(--fig-{role})"></i>{escape(name)}</span>' for role, name in self.legend
        )
        labels = [(row * height, f"{escape(label)}") for row, label in self.shown_rows()]
        labels += [((row + 0.5) * height, f"<b>{escape(label)}</b>") for row, label in self.rules]
        left = "".join(f'<span style="top:{top:.1f}px">{label}</span>' for top, label in labels)
        right = "".join(
            f'<span style="top:{(first + end) / 2 * height:.1f}px">{escape(text)}</span>'
            for first, end, text in self.remarks
        )
        rules = "".join(f'<i class="kept-rule" style="top:{100 * row / rows:.3f}%"></i>' for row, _ in self.rules)
        ticks = "".join(
            f'<span{" class=edge" if place < 0.03 else ""} style="left:{100 * place:.3f}%">{label}</span>'
            for place, label in self.ticks()
        )
        below = ""
        if self.below is not None:
            name, cells = self.below
            below = (
                f'<div class="kept-name">{escape(name)}</div><div class="kept-strip kept-survived">'
                f"{_image(cells[None, :], self.levels)}</div><div></div>"
            )
        return (
            f'<figure class="fig grid"><figcaption><strong>{escape(self.title)}</strong> {escape(self.note)}'
            f'</figcaption><div class="kept-grid" role="img" aria-label="{escape(alt)}">'
            f"{''.join(self._strip(strip) for strip in self.strips)}"
            f'<div class="kept-ylabels"><span class="kept-axis">{escape(self.row_axis)}</span>{left}</div>'
            f'<div class="kept-plot still" style="height:{height * rows}px">'
            f"{_image(self.cells, self.levels)}{self.over}{rules}</div>"
            f'<div class="kept-shares">{right}</div>{below}'
            f'<div></div><div class="kept-xaxis">{ticks}<span class="kept-axis">{escape(self.column_axis)}</span></div>'
            f'</div><div class="fig-legend">{legend}</div>{self.table.details()}</figure>'
        )

    def _strip(self, strip: Strip) -> str:
        inner = "".join(
            f'<i style="background:var(--fig-{role});left:{100 * self.across(start):.3f}%;'
            f'width:{100 * (self.across(end) - self.across(start)):.3f}%"></i>'
            for role, (start, end) in strip.spans
        )
        return f'<div class="kept-name">{escape(strip.name)}</div><div class="kept-strip">{inner}</div><div></div>'


def share_levels(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Shares in [0, 1] as indices into `SHARES`; NaN counts as 0."""
    return np.clip(np.rint(np.nan_to_num(shares) * 255), 0, 255).astype(np.uint8)


def cells_png(cells: NDArray[np.uint8], levels: tuple[Level, ...] = SHARES) -> bytes:
    """Cells [rows, columns] as a PNG of one pixel each.

    Colours are entries of a palette with an opacity of their own, so the page's own colour shows through and
    one image serves light and dark; one byte per cell encodes fast.
    """
    image = Image.frombytes("P", (cells.shape[1], cells.shape[0]), np.ascontiguousarray(cells).tobytes())
    image.putpalette(b"".join(bytes(rgb(getattr(LIGHT, role))) for role, _ in levels))
    out = io.BytesIO()
    image.save(out, "PNG", transparency=bytes(round(255 * opacity) for _, opacity in levels), compress_level=1)
    return out.getvalue()


def png_data(png: bytes) -> str:
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _image(cells: NDArray[np.uint8], levels: tuple[Level, ...]) -> str:
    return f'<img class="kept-cells" alt="" draggable="false" src="{png_data(cells_png(cells, levels))}">'


_STEPS = (
    1,
    2,
    4,
    8,
    16,
    32,
    64,
    128,
    256,
    512,
    1024,
    2048,
    4096,
    8192,
    16384,
    32768,
    65536,
    131072,
    262144,
    2**20,
    2**24,
)
