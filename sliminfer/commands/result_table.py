"""The rows of a result as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def show_table(rows: Sequence[dict[str, Any]]) -> None:
    """The rows of `summary.summarise` for a terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, padding=(0, 1))
    for heading in ("suite", "context", "variant"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "context" else "left")
    for heading in ("n", "accuracy", "95 %", "agree", "KL", "evidence", "FLOPs x", "TTFT x", "TTFT s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        speedup = row["speedup"]
        table.add_row(
            row["suite"],
            f"{row['context']:,}",
            row["variant"],
            str(row["examples"]),
            _number(row["accuracy"], ".3f"),
            f"{_number(row['accuracy_low'], '.2f')}-{_number(row['accuracy_high'], '.2f')}",
            _number(row["agreement"], ".3f"),
            _number(row["first_token_kl"], ".4f"),
            " ".join(f"{share:.2f}" for share in row["evidence_kept"]),
            _number(speedup["ttft_flops"], ".2f"),
            _number(speedup["ttft"], ".2f"),
            _number(row["ttft_s"], ".3f"),
        )
    # A narrow terminal wraps whole lines, which reads better than cut figures.
    console = Console()
    console.width = max(console.width, 200)
    console.print(table)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
