"""What two answers say: equal is not right, empty is nothing, a guess is a guess."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished, LayerDone, PromptReady
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.model.prompts import Prompt
from tests.page.serving import Served, long_text
from viz.page.judging import agreement, caveat, is_right
from viz.page.live import LiveRun
from viz.page.panes import progress, waiting_words
from viz.page.remaining import remaining_s


def run_of(page: Served, full: str, pruned: str, spread: tuple[float, float] = (0.0, 0.0)) -> RunResult:
    """A real run whose answers are put in, and whose first tokens are as undecided as `spread`: 0 sure, 1 even."""
    engine = page.site.shelf.engine(page.site.start.model)
    assert isinstance(engine, SlimEngine)
    request = RunRequest(long_text(6), "What?", page.site.start.config(), max_new_tokens=2)
    run = RunResult.of(engine.compare(request))

    def said(side: SideResult, text: str, even: float) -> SideResult:
        assert isinstance(side.ended, Finished)
        logits = np.zeros(500, np.float32)
        logits[0] = 0 if even else 50
        metrics = replace(side.ended.metrics, first_logits=logits)
        return replace(side, ended=replace(side.ended, text=text, metrics=metrics))

    return replace(run, full=said(run.full, full, spread[0]), pruned=said(run.pruned, pruned, spread[1]))


@pytest.mark.parametrize(
    ("full", "pruned", "expected", "words"),
    [
        ("48213.", "48213.", "48213", "both gave the expected answer"),
        ("48213.", "none", "48213", "missed the expected answer"),
        ("none", "It is 48213", "48213", "which the full model missed"),
        ("Lindwurm.", "Lindwurm.", "48213", "same answer, which is not the expected one"),
        ("one", "two", "48213", "neither gave the expected answer"),
        ("Lindwurm.", "Lindwurm.", "", "and gave the same answer"),
        ("", "", "48213", "neither said anything"),
        ("48213", " ", "48213", "the pruned model’s answer is empty"),
    ],
)
def test_answers_are_told_apart(page: Served, full: str, pruned: str, expected: str, words: str) -> None:
    assert words in agreement(run_of(page, full, pruned), expected)


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        ((0, 0), ""),
        ((1, 1), "neither side was sure"),
        ((1, 0), "the full model was not"),
        ((0, 1), "the pruned model was not"),
    ],
)
def test_a_guess_is_called_one(page: Served, spread: tuple[float, float], words: str) -> None:
    said = caveat(run_of(page, "a", "a", spread), "any")
    assert words in said
    assert bool(said) == bool(words)


def test_an_answer_that_was_cut_off_is_the_beginning_of_a_right_one() -> None:
    assert is_right("seen that colour. It is the", "seen that colour. It is the grey of a shell")
    assert not is_right("", "48213")
    assert not is_right("48", "48213")


def test_time_left_is_the_layers_left_at_the_speed_so_far() -> None:
    prompt = Prompt.of_ids(range(100), 10)
    run = LiveRun().after(PromptReady("full", 0.0, prompt, 0.0, 10))
    assert math.isnan(remaining_s(run))
    for layer in range(4):
        run = run.after(LayerDone("full", 3.0 * (layer + 1), layer, 10, 100))
    assert remaining_s(run) == pytest.approx(18.0)
    assert "about 18.0 s to its first word" in progress(run)


def test_a_place_in_the_queue_is_told_with_the_time_where_it_is_known() -> None:
    assert waiting_words(0, 0.0).startswith("Waiting for the engine")
    assert waiting_words(2, 40.2) == "Place 3 in the queue: 2 visitors ahead for about 41.0 s."
    assert waiting_words(1, 0.0) == "Place 2 in the queue: 1 visitor ahead."
