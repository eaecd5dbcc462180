"""Passages of a document become the tokens that hold them, wherever they stand, and reach the run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.passages import marked
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.errors import ConfigError
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded, tiny_tokenizer

DOCUMENT = "The lamp of the north tower was lit at nine. Der Wärter schrieb es auf. 塔上的灯。 " * 6


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, len(DOCUMENT) - 2), length=st.integers(1, 40))
def test_a_text_is_found_wherever_it_stands_as_its_characters_are(start: int, length: int) -> None:
    prompt = build_prompt(tiny_tokenizer(), DOCUMENT, "When was it lit?")
    text = DOCUMENT[start : start + length].strip()
    if not text:
        return
    found = {i for span in marked(prompt, (text,), "keep") for i in range(*span)}
    low, high = prompt.document
    body = prompt.text[low:high]
    wanted: set[int] = set()
    at = body.find(text)
    while at >= 0:
        wanted |= {i for i, (a, b) in enumerate(prompt.spans) if a < low + at + len(text) and b > low + at}
        wanted |= {i for span in marked(prompt, ((at, at + len(text)),), "keep") for i in range(*span)}
        at = body.find(text, at + len(text))
    assert found == wanted


def test_a_text_that_is_given_many_times_is_looked_for_once() -> None:
    prompt = build_prompt(tiny_tokenizer(), "the lamp " * 5_000, "When was it lit?")
    assert marked(prompt, ("e", " e ") * 20_000, "keep") == marked(prompt, ("e",), "keep")


def test_what_is_kept_and_dropped_is_so_in_the_run() -> None:
    loaded = tiny_loaded()
    document = "".join(f"On day {day} the lamp was lit at {day % 12}. " for day in range(60))
    config = SlimConfig((PruneStep(2, 0.2), PruneStep(4, 0.1)), local=8)
    request = RunRequest(
        document, "When?", config, 3, keep=("On day 31 the lamp",), drop=("On day 44 the lamp",), ignore_eos=True
    )
    prompt = SlimEngine(loaded).prepare(request).prompt
    kept = RunResult.of(SlimEngine(loaded).run(request)).finished["pruned"].metrics.kept
    for passage, stays in (("On day 31 the lamp", True), ("On day 44 the lamp", False)):
        tokens = {i for span in marked(prompt, (passage,), "keep") for i in range(*span)}
        assert tokens
        for step in kept:
            held = {i for start, end in step.ranges for i in range(start, end)}
            assert tokens <= held if stays else not tokens & held


@pytest.mark.parametrize(
    ("given_as", "words"),
    [
        ({"keep": ("no such words",)}, "keep names 'no such words', which is not in the document"),
        ({"drop": ("  ",)}, "drop names '', which is not in the document"),
        ({"keep": "lamp"}, "keep is 'lamp': give a list"),
        ({"keep": (5,)}, "keep has 5: give a text, or a pair"),
        ({"keep": ((3, 9_999),)}, "keep names characters 3 to 9999"),
        ({"keep": ("the lamp",), "drop": ("lamp was",)}, "to be kept and to be dropped"),
    ],
)
def test_a_passage_that_is_not_there_is_refused_in_a_sentence(given_as: dict[str, object], words: str) -> None:
    request = RunRequest("Every night the lamp was lit at nine.", "When?", **given_as)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words) as refusal:
        request.tokenized(tiny_tokenizer())
    assert "\n" not in str(refusal.value)
