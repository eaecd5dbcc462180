"""EXAONE 4: no norm before attention; three layers with a window, which alone rotate, to one that sees everything."""

from __future__ import annotations

from typing import Any

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted


def rotates(attention: Any) -> bool:
    """Only layers with a window rotate, where there are such."""
    return attention.sliding_window is None or bool(attention.is_sliding)


EXAONE4 = Family("exaone4", "EXAONE 4", input_norm=None, rotates=rotates, shape=counted)
