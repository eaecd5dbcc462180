"""RULER's thirteen tasks (arXiv 2404.06654) by generators of our own, at any context length.

The settings (needles, keys, values, hops, frequencies, answer lengths, scoring) follow the paper; every sentence,
name and word is ours, so no data has to be fetched. Differences: the two question-answering tasks draw on invented
articles instead of SQuAD and HotpotQA, and no task is shown a solved example first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from sliminfer.tasks.filler import CountTokens, Filler, TaskError
from sliminfer.tasks.items import EvalItem, EvalSuite
from sliminfer.tasks.ruler_lists import common_words, frequent_words
from sliminfer.tasks.ruler_needles import NeedleTask, needles, variable_tracking
from sliminfer.tasks.ruler_questions import one_hop, two_hops
from sliminfer.tasks.ruler_text import Draft, Haystack
from sliminfer.tasks.scoring import all_of, contains_answer

# Tokens of the chat template and of joints between pieces, which are not measured.
_MARGIN = 32


@dataclass(frozen=True)
class RulerTask:
    """One task: how it is made, how long its answer may be, and whether all answers are wanted or any one."""

    make: Callable[[Random, Haystack, int], Draft]
    max_new_tokens: int
    every_answer: bool = True


def _needles(task: NeedleTask) -> RulerTask:
    return RulerTask(lambda rng, stack, room: needles(task, rng, stack, room), 128)


TASKS: dict[str, RulerTask] = {
    "niah_single_1": _needles(NeedleTask(haystack="noise")),
    "niah_single_2": _needles(NeedleTask()),
    "niah_single_3": _needles(NeedleTask(values="uuid")),
    "niah_multikey_1": _needles(NeedleTask(keys=4)),
    "niah_multikey_2": _needles(NeedleTask(haystack="needles")),
    "niah_multikey_3": _needles(NeedleTask(haystack="needles", names="uuid", values="uuid")),
    "niah_multivalue": _needles(NeedleTask(values_per_key=4)),
    "niah_multiquery": _needles(NeedleTask(keys=4, queries=4)),
    "vt": RulerTask(variable_tracking, 30),
    "cwe": RulerTask(common_words, 120),
    "fwe": RulerTask(frequent_words, 50),
    "qa_1": RulerTask(one_hop, 32, every_answer=False),
    "qa_2": RulerTask(two_hops, 32, every_answer=False),
}


class RulerSuite(EvalSuite):
    """One of `TASKS`, over filler text where the task has an essay for a haystack."""

    def __init__(self, task: str, fillers: Sequence[Filler], count_tokens: CountTokens, seed: int) -> None:
        self.name = f"ruler/{task}"
        self._task = TASKS[task]
        self._fillers, self._count_tokens, self._seed = fillers, count_tokens, seed

    def size(self, wanted: int) -> int:
        return wanted

    def item(self, context: int, index: int) -> EvalItem:
        rng = Random(f"{self.name} {context} {self._seed} {index}")
        task = self._task
        stack = Haystack(self._fillers[index % len(self._fillers)], self._count_tokens)
        room = context - task.max_new_tokens - _MARGIN
        if room < 128:
            raise TaskError(f"{context} tokens are too few for {self.name}: ask for {context - room + 128} or more.")
        draft = task.make(rng, stack, room)
        document, evidence = draft.document()
        return EvalItem(
            suite=self.name,
            context=context,
            index=index,
            document=document,
            question=draft.question,
            answers=draft.answers,
            score=partial(all_of if task.every_answer else any_of, answers=draft.answers),
            evidence=evidence,
            max_new_tokens=task.max_new_tokens,
        )


def any_of(reply: str, answers: tuple[str, ...]) -> float:
    """1.0 if at least one of `answers` occurs in `reply`."""
    return max(contains_answer(reply, answer) for answer in answers)

