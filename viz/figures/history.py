"""Several runs on one document: how far the answers agree, against the arithmetic that was saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from viz.figures.chart import Axis, Chart, Points
from viz.figures.table import Table
from viz.figures.words import percent, times

LONGEST = 80  # characters of an answer or a question in the table


@dataclass(frozen=True)
class Row:
    """One run: its number, what was asked and set, and what came of it."""

    number: int
    question: str
    setting: str
    flops: float
    kv: float
    agreement: float
    text: str


def history_chart(rows: Sequence[Row]) -> Chart:
    """A point per run, numbered; up is nearer to the full answer, right is cheaper."""
    title = "Runs on this document"
    marks = tuple(
        Points(
            f"run {row.number}",
            np.array([row.flops]),
            np.array([row.agreement]),
            (_label(row, rows),),
            "kept" if row is rows[-1] else "plain",
            "circle",
            (f"{_short(row.question)}: {row.setting}",),
        )
        for row in rows
    )
    spread = [row.flops for row in rows] or [1.0]
    return Chart(
        title=title,
        note="Up is nearer to the full model’s answer, right is less arithmetic. Blue is the last run.",
        x=Axis("FLOPs of the full prefill over the pruned one", low=0.9, high=1.1 * max(*spread, 1.2)),
        y=Axis("agreement with the full answer", percent=True, low=-0.05, high=1.12),
        marks=marks,
        table=Table.of(
            title,
            ("Run", "Question", "Pruning", "Less arithmetic", "Smaller KV", "Agreement", "Pruned answer"),
            [
                (row.number, _short(row.question), row.setting, times(row.flops), times(row.kv), percent(row.agreement),
                 _short(row.text))
                for row in rows
            ],
        ),
    )  # fmt: skip


def _label(row: Row, rows: Sequence[Row]) -> str:
    """The numbers of all runs at one place, at the last of them; empty at the others."""
    here = [other.number for other in rows if (other.flops, other.agreement) == (row.flops, row.agreement)]
    return ", ".join(map(str, here)) if row.number == here[-1] else ""


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST else words[:LONGEST] + " …"
