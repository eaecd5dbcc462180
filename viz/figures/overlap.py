"""Two kept-token maps over each other: what both kept, what one alone, what neither."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz.figures.grid import Grid, Level
from viz.figures.kept_map import KeptMap
from viz.figures.table import Table
from viz.figures.words import percent, plural

COLUMNS = 512
BOTH, ONLY_A, ONLY_B, NEITHER = range(4)
_LEVELS: tuple[Level, ...] = (("kept", 1.0), ("warm", 1.0), ("fresh", 1.0), ("dropped", 1.0))


def overlap_grid(a: KeptMap, b: KeptMap, names: tuple[str, str] = ("A", "B")) -> Grid:
    """Layers down, positions across; a cell shows the commonest fate of its tokens but for those that neither kept.

    Both maps must be of prompts of the same length on the same model. Raises ValueError otherwise.
    """
    if (a.tokens, a.layers) != (b.tokens, b.layers):
        raise ValueError("two maps over each other must be of one prompt and one model")
    fates = by_layer(a, b)
    columns = min(COLUMNS, a.tokens)
    edges = np.linspace(0, a.tokens, columns + 1).round().astype(int)[:-1]
    counts = np.stack([np.add.reduceat(fates == fate, edges, axis=1) for fate in range(4)])
    kept = counts[:NEITHER]
    cells = np.where(kept.sum(axis=0) > 0, kept.argmax(axis=0), NEITHER).astype(np.uint8)
    table = overlap_table(fates, names)
    return Grid(
        title=f"{names[0]} and {names[1]} over each other",
        note=overlap_words(a, b, names),
        cells=cells,
        levels=_LEVELS,
        rows=tuple(map(str, range(a.layers))),
        row_axis="layer",
        column_axis="original position",
        start=0,
        end=a.tokens,
        legend=(
            ("kept", "both"), ("warm", f"{names[0]} alone"), ("fresh", f"{names[1]} alone"), ("dropped", "neither")
        ),
        table=table,
        remarks=tuple((layer, layer + 1, "differ") for layer in _first_differences(fates)),
    )


def by_layer(a: KeptMap, b: KeptMap) -> NDArray[np.uint8]:
    """Fate of each position at each layer, one of BOTH, ONLY_A, ONLY_B, NEITHER: uint8 [L, N]."""
    rows = []
    for layer in range(a.layers):
        mine, theirs = a.alive[a.stage_at(layer)], b.alive[b.stage_at(layer)]
        rows.append(np.where(mine, np.where(theirs, BOTH, ONLY_A), np.where(theirs, ONLY_B, NEITHER)))
    return np.asarray(rows, np.uint8)


def overlap_table(fates: NDArray[np.uint8], names: tuple[str, str]) -> Table:
    """Tokens of each fate, layer by layer, and how much of what either kept both kept."""
    rows = []
    for layer, row in enumerate(fates):
        both, one, other, neither = (int((row == fate).sum()) for fate in range(4))
        rows.append((layer, both, one, other, neither, percent(both / max(1, both + one + other))))
    return Table.of(
        "Tokens by what became of them",
        ("Layer", "Both kept", f"{names[0]} alone", f"{names[1]} alone", "Neither", "Shared"),
        rows,
    )


def overlap_words(a: KeptMap, b: KeptMap, names: tuple[str, str]) -> str:
    """The difference in one sentence."""
    last = by_layer(a, b)[-1]
    both, one, other = (int((last == fate).sum()) for fate in (BOTH, ONLY_A, ONLY_B))
    if not one and not other:
        return f"In the last layer both kept the same {plural(both, 'token')}."
    return (
        f"In the last layer both kept {plural(both, 'token')}, {names[0]} alone {one:,} and {names[1]} alone {other:,}."
    )


def _first_differences(fates: NDArray[np.uint8]) -> list[int]:
    """The first layer at which the two differ."""
    differing = np.flatnonzero(((fates == ONLY_A) | (fates == ONLY_B)).any(axis=1))
    return [int(differing[0])] if len(differing) else []
