"""Numbers and text as a reader sees them: units, ratios, and escaping for HTML."""

from __future__ import annotations

import html
import math

DASH = "–"


def escape(text: str) -> str:
    """`text` for HTML element content or a quoted attribute; the parsed result has the same characters.

    A carriage return is written as a reference, since the HTML parser would turn it into a line feed; NUL,
    which HTML cannot hold, becomes U+FFFD.
    """
    return html.escape(text, quote=True).replace("\r", "&#13;").replace("\0", "\ufffd")


def seconds(value: float) -> str:
    """12.3 s, 1.24 s, 380 ms, 0.41 ms; a dash for NaN."""
    if not math.isfinite(value):
        return DASH
    if value >= 1:
        return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"
    millis = value * 1000
    return f"{millis:.0f} ms" if millis >= 10 else f"{millis:.2g} ms"


def size(value: float) -> str:
    """Bytes in binary units: 3.2 MiB, 12 KiB."""
    if not math.isfinite(value):
        return DASH
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def times(value: float) -> str:
    """A ratio: 2.31×."""
    return f"{value:.2f}×" if math.isfinite(value) else DASH


def percent(share: float) -> str:
    """A share in [0, 1]: 25 %, 12.5 %, 6.3 %, 0.4 %."""
    if not math.isfinite(share):
        return DASH
    value = 100 * share
    return f"{value:.1f}".removesuffix(".0") + " %" if value < 20 else f"{value:.0f} %"


def count(value: float) -> str:
    """A whole number with thousands marked: 131,072."""
    return f"{value:,.0f}" if math.isfinite(value) else DASH


def rate(value: float) -> str:
    """Tokens per second: 12.4, 128."""
    if not math.isfinite(value):
        return DASH
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def number(value: float) -> str:
    """Any other figure, three significant digits."""
    return f"{value:.3g}" if math.isfinite(value) else DASH


def plural(value: int, noun: str) -> str:
    """1 token, 2,048 tokens."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"
