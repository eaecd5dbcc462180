"""Colours, fonts and the style sheet shared by every figure, in a light and a dark version.

The hues are Okabe and Ito's colour-blind-safe set (blue #0072B2, orange #E69F00, green #009E73) and its kin for charts
of more than four series; the dark version lightens them so that they keep their contrast. HTML figures read them as
CSS variables and follow the page by themselves; drawings made in Python (Plotly, PNG) are given a `Palette`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

from sliminfer.assets import ASSETS

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Palette:
    """One colour per role, as #rrggbb. `kept`, `warm`, `fresh` and `plain` are the colours of series, which
    also differ by name, dash or shape."""

    surface: str
    ink: str
    muted: str
    rule: str
    dropped: str
    kept: str
    warm: str
    fresh: str
    plain: str
    sky: str
    rose: str
    brick: str
    violet: str
    olive: str


LIGHT = Palette(
    surface="#ffffff",
    ink="#1f2933",
    muted="#59646f",
    rule="#d9dee4",
    dropped="#e6e9ed",
    kept="#0072B2",
    warm="#E69F00",
    fresh="#009E73",
    plain="#7d8894",
    sky="#4aa5dc",
    rose="#c2689a",
    brick="#D55E00",
    violet="#6f57a8",
    olive="#8a7b1e",
)
DARK = Palette(
    surface="#15191f",
    ink="#e7ebf0",
    muted="#a2adb9",
    rule="#39424d",
    dropped="#2b323b",
    kept="#3d9dd8",
    warm="#f0b53a",
    fresh="#35c49b",
    plain="#8d99a6",
    sky="#7fc8f2",
    rose="#e09cc2",
    brick="#f0803c",
    violet="#a893dd",
    olive="#c3b554",
)


def rgb(colour: str) -> tuple[int, int, int]:
    """#rrggbb as three integers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def mix(over: str, under: str, share: float) -> tuple[int, int, int]:
    """Colour of `over` painted with opacity `share` on `under`."""
    pairs = zip(rgb(over), rgb(under), strict=True)
    red, green, blue = (round(a * share + b * (1 - share)) for a, b in pairs)
    return red, green, blue


def variables(palette: Palette) -> str:
    """The palette as CSS custom properties, `--fig-surface` and so on."""
    return "".join(f"--fig-{f.name}:{getattr(palette, f.name)};" for f in fields(palette))


@cache
def stylesheet() -> str:
    """CSS of all HTML figures: the variables of both palettes (dark under a `.dark` ancestor) and the rules."""
    rules = (ASSETS / "css" / "figures.css").read_text(encoding="utf-8")
    return f":root{{{variables(LIGHT)}}}\n.dark{{{variables(DARK)}}}\n{rules}"


@cache
def script(name: str) -> str:
    """JavaScript of a figure's behaviour, `assets/js/<name>.js`.

    It is a function body over `element` (the component's root), `server` (Python functions, may be empty),
    `trigger` and `watch`, which is what `gr.HTML(js_on_load=...)` runs once; it survives updates of the value.
    """
    return (ASSETS / "js" / f"{name}.js").read_text(encoding="utf-8")
