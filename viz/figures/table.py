"""The table that stands beside every drawing: for screen readers, for copying, for export as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from viz.figures.words import escape

Cell: TypeAlias = str | int | float


@dataclass(frozen=True)
class Table:
    """A caption, column names, and rows as wide as the columns; the first cell of a row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
        return cls(caption, tuple(columns), tuple(tuple(row) for row in rows))

    def frame(self) -> pd.DataFrame:
        """The table as a data frame, one column per name."""
        return pd.DataFrame([list(row) for row in self.rows], columns=list(self.columns))

    def html(self) -> str:
        """The `<table>` alone, escaped."""
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        body = "".join(
            f'<tr><th scope="row">{_shown(row[0])}</th>'
            + "".join(f"<td>{_shown(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self.rows
        )
        return (
            f"<table><caption>{escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def details(self) -> str:
        """The table folded away under its drawing, with the button that `assets/js/copy.js` answers to.

        It scrolls sideways by itself and by keyboard.
        """
        return (
            '<div class="fig-more"><button type="button" class="fig-copy" '
            f'aria-label="Copy numbers: {escape(self.caption)}">Copy numbers</button>'
            '<details class="fig-table"><summary>As a table</summary>'
            f'<div class="fig-scroll" tabindex="0" role="region" aria-label="{escape(self.caption)}">'
            f"{self.html()}</div></details></div>"
        )


def _shown(cell: Cell) -> str:
    return escape(f"{cell:.4g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell)
