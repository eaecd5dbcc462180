"""Several questions in one `run`: the document is read once for all of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sliminfer.commands import options
from sliminfer.errors import SlimError

if TYPE_CHECKING:
    from sliminfer.engine.engine import SlimEngine
    from sliminfer.engine.questions import QuestionsResult
    from sliminfer.engine.request import RunRequest


def ask_several(requests: Sequence[RunRequest], engine: SlimEngine, json: str | None) -> None:
    """Ask `requests`, which differ in their question alone, and print or write what came of it.

    Raises:
        SlimError: a run failed.
    """
    from sliminfer.engine.questions import QuestionsResult, ask_all

    items = ask_all(engine, requests)
    engine.warm_up()
    result = QuestionsResult.of(len(requests))
    for item in items:
        result = result.after(item)
    questions = [request.question for request in requests]
    if json != "-":
        _show(result, questions)
    if json is not None:
        options.write_json(result.to_dict(engine.loaded.name, requests[0].config, questions), json)
    if result.failed:
        raise SlimError(" ".join(result.failed))


def _show(result: QuestionsResult, questions: Sequence[str]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=sys.stdout)
    for name, one in result.readings.items():
        kept = f"{one.nbytes / 1e6:.1f} MB kept for questions"
        console.print(f"{name}: read {one.tokens:,} tokens once, in {one.seconds:.3f} s; {kept}.")
    table = Table(box=SIMPLE)
    for heading in ("question", "side", "answer", "TTFT s", "agreement"):
        table.add_column(heading, justify="right" if heading in ("TTFT s", "agreement") else "left")
    for question, run in zip(questions, result.runs, strict=True):
        for side in run.sides:
            alike = run.comparison.agreement if run.comparison is not None else math.nan
            table.add_row(
                escape(question) if side.side == "full" else "",
                side.side,
                escape(side.text.strip() or side.error),
                f"{side.ttft_s:.3f}",
                f"{alike:.0%}" if side.side == "pruned" else "",
            )
    console.print(table)
