"""Sparse reading: the layers that see the whole prompt attend to chosen blocks of it. One chooser per file."""

from __future__ import annotations

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.reading import Grid, SparseReading
from sliminfer.sparse.antidiagonal import Antidiagonal
from sliminfer.sparse.base import Chooser
from sliminfer.sparse.pooled import Pooled
from sliminfer.sparse.vertical_slash import VerticalSlash

__all__ = ["Chooser", "available", "check_reading", "chooser_class", "make_chooser"]

_CHOOSERS: dict[str, type[Chooser]] = {kind.name: kind for kind in (Pooled, Antidiagonal, VerticalSlash)}


def available() -> tuple[str, ...]:
    """Names of all choosers, the default first."""
    return tuple(_CHOOSERS)


def chooser_class(name: str) -> type[Chooser]:
    """The chooser `name`; raises ConfigError for an unknown one."""
    if name not in _CHOOSERS:
        raise ConfigError(f"Unknown chooser {name!r} of sparse reading: choose one of {', '.join(available())}.")
    return _CHOOSERS[name]


def make_chooser(reading: SparseReading, grid: Grid) -> Chooser:
    """The chooser that `reading` names, for one prompt."""
    return chooser_class(reading.chooser)(reading, grid)


def check_reading(config: SlimConfig) -> None:
    """Raise ConfigError where `config` has reading options that are unknown or wrong."""
    chooser_class(SparseReading.of(config).chooser)
