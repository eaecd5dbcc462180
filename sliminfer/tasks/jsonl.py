"""Any JSON-lines file of documents, questions and, where they are known, answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sliminfer.model.prompts import QUESTION_PREFIX
from sliminfer.tasks import metrics
from sliminfer.tasks.filler import TaskError
from sliminfer.tasks.items import EvalItem, EvalSuite
from sliminfer.tasks.longbench import read_rows
from sliminfer.tasks.middle import TEMPLATE_ROOM, cut_middle
from sliminfer.tasks.scoring import contains_answer, verbatim_words

METRICS: dict[str, Callable[[str, str], float]] = {
    "contains": contains_answer,
    "verbatim": verbatim_words,
    "qa_f1": metrics.qa_f1,
    "rouge_l": metrics.rouge_l,
}
_ROOM = 64


class JsonlSuite(EvalSuite):
    """A file with one record a line: {"document", "question"}, and if wanted "answers" (any one is right),
    "metric" (one of `METRICS`), "evidence" ([[start, end], ...] in characters) and "max_new_tokens".

    Without answers there is no accuracy, but agreement with the full model all the same.
    """

    def __init__(self, path: Path, tokenizer: Any) -> None:
        self.name = path.stem
        self._tokenizer = tokenizer
        remedy = 'write one record a line, as in {"document": "...", "question": "...", "answers": ["..."]}'
        self._rows = read_rows(path, remedy, ("document", "question"))
        for number, row in enumerate(self._rows, start=1):
            fault = _fault(row)
            if fault:
                raise TaskError(f"Record {number} of {path} has {fault}: {remedy}.")
            metrics.check_metric(row.get("metric", "contains"))

    def size(self, wanted: int) -> int:
        return min(wanted, len(self._rows))

    def item(self, context: int, index: int) -> EvalItem:
        row = self._rows[index]
        metric = row.get("metric", "contains")
        room = row.get("max_new_tokens", _ROOM)
        asked = QUESTION_PREFIX + row["question"].strip()
        whole = row["document"].rstrip()
        document, question = cut_middle(self._tokenizer, whole, asked, context - room - TEMPLATE_ROOM)
        evidence = tuple((int(start), int(end)) for start, end in row.get("evidence", ()))
        answers = row.get("answers", [])
        return EvalItem(
            suite=self.name,
            context=context,
            index=index,
            document=document,
            question=question.removeprefix(QUESTION_PREFIX),
            answers=tuple([answers] if isinstance(answers, str) else answers),
            score=partial(_best, METRICS[metric], [answers] if isinstance(answers, str) else answers),
            evidence=evidence if document == whole else (),
            max_new_tokens=room,
        )


def _fault(row: dict[str, Any]) -> str:
    """What is wrong with a record, or nothing."""
    for name in ("document", "question"):
        if not isinstance(row[name], str) or not row[name].strip():
            return f"no text as its {name}"
    answers = row.get("answers", [])
    if not isinstance(answers, str | list) or not all(isinstance(answer, str) for answer in answers):
        return "answers that are no list of texts"
    if row.get("metric", "contains") not in METRICS:
        return f"metric {row['metric']!r}, which is none of {', '.join(METRICS)}"
    room = row.get("max_new_tokens", _ROOM)
    if not isinstance(room, int) or room < 1:
        return f"max_new_tokens {room!r}, which is no positive whole number"
    spans = row.get("evidence", [])
    inside = isinstance(spans, list) and all(
        isinstance(span, list) and len(span) == 2 and all(isinstance(edge, int) for edge in span)
        and 0 <= span[0] < span[1] <= len(row["document"])
        for span in spans
    )  # fmt: skip
    return "" if inside else "evidence that is no list of [start, end] within its document"


def _best(metric: Callable[[str, str], float], answers: list[str], reply: str) -> float:
    return max((metric(reply, answer) for answer in answers), default=math.nan)
