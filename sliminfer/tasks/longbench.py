"""LongBench v1 and v2 (arXiv 2308.14508, 2412.15204) from their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sliminfer.tasks import metrics
from sliminfer.tasks.filler import TaskError
from sliminfer.tasks.items import EvalItem, EvalSuite
from sliminfer.tasks.longbench_tasks import TASKS, LongBenchTask
from sliminfer.tasks.middle import TEMPLATE_ROOM, cut_middle

PROMPTS_FILE = "dataset2prompt.json"
_V2_FILE = "longbench-v2.jsonl"
_V2_ROOM = 128
_V2_QUESTION = (
    "Question: {question}\n(A) {choice_A}\n(B) {choice_B}\n(C) {choice_C}\n(D) {choice_D}\n\n"
    'Which of the four is right? Answer in this form: "The correct answer is (letter)".'
)


class LongBenchSuite(EvalSuite):
    """One task of LongBench v1, from `<folder>/longbench/<task>.jsonl`."""

    def __init__(self, task: str, data: Path, tokenizer: Any) -> None:
        self.name = f"longbench/{task}"
        folder = data / "longbench"
        self._task = with_prompt(task, folder)
        metrics.check_metric(self._task.metric)
        self._rows = read_rows(
            folder / f"{task}.jsonl",
            "use --download, or unpack data.zip of the dataset THUDM/LongBench on huggingface.co so that it is there",
            ("input", "context", "answers", "all_classes"),
        )
        self._tokenizer = tokenizer

    def size(self, wanted: int) -> int:
        return min(wanted, len(self._rows))

    def item(self, context: int, index: int) -> EvalItem:
        row, task = self._rows[index], self._task
        before, _, after = task.prompt.partition("{context}")
        document, question = before + row["context"], after.replace("{input}", row["input"])
        limit = context - task.max_new_tokens - (TEMPLATE_ROOM if task.chat else 1)
        document, question = cut_middle(self._tokenizer, document, question, limit)
        # White space around the joint goes between the two: the prompt's parts are trimmed.
        between = document[len(document.rstrip()) :] + question[: len(question) - len(question.lstrip())]
        return EvalItem(
            suite=self.name,
            context=context,
            index=index,
            document=document,
            question=question,
            answers=tuple(row["answers"]),
            score=partial(score, task, answers=tuple(row["answers"]), classes=tuple(row["all_classes"] or ())),
            max_new_tokens=task.max_new_tokens,
            between=between,
            chat=task.chat,
        )


class LongBench2Suite(EvalSuite):
    """LongBench v2's multiple-choice questions, from `<folder>/longbench-v2.jsonl` (or .json)."""

    name = "longbench-v2"

    def __init__(self, data: Path, tokenizer: Any) -> None:
        path = data / _V2_FILE
        whole = path.with_suffix(".json")
        self._rows = read_rows(
            whole if whole.is_file() and not path.is_file() else path,
            "use --download, or put data.json of THUDM/LongBench-v2 on huggingface.co there, as longbench-v2.json",
            ("context", "question", "choice_A", "choice_B", "choice_C", "choice_D", "answer"),
        )
        self._tokenizer = tokenizer

    def size(self, wanted: int) -> int:
        return min(wanted, len(self._rows))

    def item(self, context: int, index: int) -> EvalItem:
        row = self._rows[index]
        question = _V2_QUESTION.format_map({key: str(row[key]).strip() for key in row if key != "context"})
        document, question = cut_middle(
            self._tokenizer, row["context"].strip(), f"\n\n{question}", context - _V2_ROOM - TEMPLATE_ROOM
        )
        return EvalItem(
            suite=self.name,
            context=context,
            index=index,
            document=document,
            question=question.strip(),
            answers=(row["answer"],),
            score=partial(_letter_score, answer=row["answer"]),
            max_new_tokens=_V2_ROOM,
            between="\n\n",
        )


def score(task: LongBenchTask, reply: str, answers: tuple[str, ...], classes: tuple[str, ...] = ()) -> float:
    """The best score of a reply over the references, as the benchmark takes it."""
    if task.first_line:
        reply = metrics.first_line(reply)
    if task.metric == "classification":
        return max(metrics.classification(reply, answer, classes) for answer in answers)
    return max(_METRICS[task.metric](reply, answer) for answer in answers)


def with_prompt(name: str, folder: Path) -> LongBenchTask:
    """The task, asked in the benchmark's own words where its prompt file is in `folder`.

    Raises:
        TaskError: the prompt file is there but does not fit.
    """
    task, path = TASKS[name], folder / PROMPTS_FILE
    if not path.is_file():
        return task
    try:
        prompt = json.loads(path.read_text(encoding="utf-8"))[name]
        if prompt.count("{context}") != 1:
            raise ValueError("no {context}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TaskError(f"{path} has no prompt for {name}: take the benchmark's own file, or remove it.") from error
    return LongBenchTask(task.metric, task.max_new_tokens, prompt, task.chat, task.first_line)


def read_rows(path: Path, remedy: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """The records of a JSONL file, or of a JSON file with a list, that all have `fields`.

    Raises:
        TaskError: no such file, with `remedy`; or a line that is no such record.
    """
    if not path.is_file():
        raise TaskError(f"{path} is missing: {remedy}.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} cannot be read as UTF-8 text ({error}): save it as UTF-8.") from error
    lines = [line for line in text.split("\n") if line.strip()]
    rows: list[dict[str, Any]] = []
    try:
        found = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in lines]
        for row in found:
            missing = [name for name in fields if name not in row]
            if missing:
                number = len(rows) + 1
                raise TaskError(f"Record {number} of {path} has no {missing[0]!r}: it needs {', '.join(fields)}.")
            rows.append(row)
    except (ValueError, TypeError) as error:
        raise TaskError(f"{path} cannot be read after {len(rows)} records ({error}): use one record a line.") from error
    if not rows:
        raise TaskError(f"{path} holds no records: {remedy}.")
    return rows


def _letter_score(reply: str, answer: str) -> float:
    return float(metrics.chosen_letter(reply) == answer)


_METRICS: Mapping[str, Callable[[str, str], float]] = {
    "qa_f1": metrics.qa_f1,
    "rouge_l": metrics.rouge_l,
    "retrieval": metrics.retrieval,
    "count": metrics.count,
    "code": metrics.code_similarity,
}
