"""The pen behind every PNG: Pillow at twice the nominal size, text in Pillow's own font.

The font that comes with Pillow is used everywhere, so a PNG looks the same on every machine; the few signs
it lacks are written in ASCII.
"""

from __future__ import annotations

import io
import itertools
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from viz.figures.grid import Level
from viz.figures.theme import Palette, mix, rgb

SCALE = 2
Anchor = Literal["la", "ma", "ra", "lm", "mm", "rm"]
Box = tuple[float, float, float, float]
_ASCII = str.maketrans({"×": "x", "–": "-", "−": "-", "≈": "~", "≤": "<=", "≥": ">=", "’": "'", "…": "..."})


class Canvas:
    """A drawing of `width` x `height` nominal pixels; all coordinates are nominal."""

    def __init__(self, width: int, height: int, palette: Palette) -> None:
        self.width, self.height, self.palette = width, height, palette
        self._image = Image.new("RGB", (width * SCALE, height * SCALE), rgb(palette.surface))
        self._draw = ImageDraw.Draw(self._image, "RGBA")

    def png(self) -> bytes:
        """The drawing."""
        out = io.BytesIO()
        self._image.save(out, "PNG")
        return out.getvalue()

    def reduced(self) -> Image.Image:
        """The drawing at its nominal size, for a frame among many."""
        return self._image.resize((self.width, self.height), Image.Resampling.LANCZOS)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        role: str = "muted",
        size: int = 12,
        anchor: Anchor = "la",
        bold: bool = False,
    ) -> None:
        """`text` in the colour of `role`, placed by `anchor` (Pillow's two letters)."""
        self._draw.text(
            (x * SCALE, y * SCALE), _ascii(text), rgb(getattr(self.palette, role)), _font(size), anchor,
            stroke_width=0.6 if bold else 0,
        )  # fmt: skip

    def text_width(self, text: str, size: int = 12) -> float:
        """Nominal width of `text`."""
        return float(_font(size).getlength(_ascii(text))) / SCALE

    def box(self, box: Box, role: str, opacity: float = 1.0) -> None:
        """A filled rectangle (left, top, right, bottom)."""
        left, top, right, bottom = (round(value * SCALE) for value in box)
        if right > left and bottom > top:
            colour = (*rgb(getattr(self.palette, role)), round(255 * opacity))
            self._draw.rectangle((left, top, right - 1, bottom - 1), colour)

    def line(self, points: list[tuple[float, float]], role: str, width: float = 1.0, dash: float = 0.0) -> None:
        """A polyline; `dash` is the length of dashes and gaps, 0 for a solid one."""
        if len(points) < 2:
            return
        colour = rgb(getattr(self.palette, role))
        for piece in _dashes(points, dash) if dash else [points]:
            scaled = [(x * SCALE, y * SCALE) for x, y in piece]
            self._draw.line(scaled, colour, max(1, round(width * SCALE)), "curve")

    def area(self, points: list[tuple[float, float]], role: str, opacity: float) -> None:
        """A filled polygon."""
        colour = (*rgb(getattr(self.palette, role)), round(255 * opacity))
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], colour)

    def dot(self, x: float, y: float, role: str, radius: float, symbol: str = "circle") -> None:
        """A marker: circle, square, diamond, triangle or cross."""
        fill, edge = rgb(getattr(self.palette, role)), rgb(self.palette.surface)
        x, y, r = x * SCALE, y * SCALE, radius * SCALE
        if symbol == "square":
            self._draw.rectangle((x - r, y - r, x + r, y + r), fill, edge, SCALE)
        elif symbol == "diamond":
            self._draw.polygon([(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)], fill, edge)
        elif symbol == "triangle":
            self._draw.polygon([(x, y - 1.3 * r), (x + 1.2 * r, y + r), (x - 1.2 * r, y + r)], fill, edge)
        elif symbol == "cross":
            for dx in (1, -1):
                self._draw.line((x - dx * r, y - r, x + dx * r, y + r), fill, 2 * SCALE)
        else:
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill, edge, SCALE)

    @staticmethod
    def height_of(png: bytes) -> int:
        """Nominal height of a drawing."""
        with Image.open(io.BytesIO(png)) as image:
            return image.height // SCALE

    def paste(self, png: bytes, y: float) -> None:
        """Another drawing at the left edge, from `y` on."""
        with Image.open(io.BytesIO(png)) as image:
            self._image.paste(image, (0, round(y * SCALE)))

    def cells(self, box: Box, cells: NDArray[np.uint8], levels: tuple[Level, ...]) -> None:
        """Cells [rows, columns] stretched over `box` without smoothing, on the colour of dropped tokens."""
        under = self.palette.dropped
        table = np.array([mix(getattr(self.palette, role), under, opacity) for role, opacity in levels], np.uint8)
        left, top, right, bottom = (round(value * SCALE) for value in box)
        image = Image.fromarray(table[cells]).resize((right - left, bottom - top), Image.Resampling.BOX)
        self._image.paste(image, (left, top))


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size * SCALE)
    assert isinstance(font, ImageFont.FreeTypeFont)  # it is one wherever Pillow has FreeType, as its wheels do
    return font


def _ascii(text: str) -> str:
    return text.translate(_ASCII).encode("latin-1", "replace").decode("latin-1")


def _dashes(points: list[tuple[float, float]], length: float) -> list[list[tuple[float, float]]]:
    """Cut a polyline into dashes of `length` with gaps as long."""
    pieces: list[list[tuple[float, float]]] = []
    done = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        whole = float(np.hypot(x1 - x0, y1 - y0))
        at = 0.0
        while at < whole:
            phase = done % (2 * length)
            step = min(whole - at, (length if phase < length else 2 * length) - phase + 1e-6)
            if phase < length:
                part = [(x0 + (x1 - x0) * t / whole, y0 + (y1 - y0) * t / whole) for t in (at, at + step)]
                pieces.append(part)
            at += step
            done += step
    return pieces
