"""The project's own suites as an evaluation: facts and quotations planted in filler text, names held out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sliminfer.tasks.example import Suite
from sliminfer.tasks.filler import Filler
from sliminfer.tasks.items import EvalItem, EvalSuite
from sliminfer.tasks.scoring import score
from sliminfer.tasks.suites import make_example

# Tokens that the longest answers take, with a sentence around them for models that write one.
ROOM: dict[Suite, int] = {"needle": 32, "multikey": 32, "multivalue": 64, "quote": 64, "tracking": 64, "multikey16": 32}


class PlantedSuite(EvalSuite):
    """One of `SUITES`; example i is planted in filler text i modulo their number."""

    def __init__(self, suite: Suite, fillers: Sequence[Filler], seed: int) -> None:
        self.name = suite
        self._suite: Suite = suite
        self._fillers, self._seed = fillers, seed

    def size(self, wanted: int) -> int:
        return wanted

    def item(self, context: int, index: int) -> EvalItem:
        # The answer counts, as in RULER, and so does the chat template, which the generators do not know.
        filler = self._fillers[index % len(self._fillers)]
        length = context - ROOM[self._suite] - 16
        example = make_example(self._suite, filler, length, self._seed * 1_000_003 + index)
        return EvalItem(
            suite=self.name,
            context=context,
            index=index,
            document=example.document,
            question=example.question,
            answers=example.answers,
            score=partial(score, example),
            evidence=example.evidence,
            max_new_tokens=ROOM[self._suite],
        )
