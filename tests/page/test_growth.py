"""What the page and the API do to a visitor's text beside parsing it takes work that grows with it and no faster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sliminfer.diffusion.losses import sentences
from sliminfer.documents.parts import first_part, last_part, page_numbers, part_around
from sliminfer.engine.passages import marked
from sliminfer.schedule.config import parse_steps
from tests.figures.synthetic import prompt_of
from tests.work import assert_near_linear
from viz.page.judging import is_right
from viz.page.proposals import READ, propose

FEW, MANY = 4_000, 40_000  # four times MANY is what a proposal reads at most, less a fifth

# Beginnings of what a proposed question is made of, again and again, with the end that would make it one missing.
PROPOSED = {
    "subjects": "x. The a of b for c the d e f ",
    "subjects that run on": "The ",
    "hyphens": "x. The a-a’a-",
    "numbers": "x. The lamp is 1.1.1.1",
    "names": "x. The lamp is Aa Aa Aa Aa Aa ",
    "years": "x. The lamp was built a b c d in ",
    "line ends": "The a\n",
    "questions": "x. The lamp of a1 is 12. ",
}


def repeated(unit: str, before: str = "") -> Callable[[int], str]:
    return lambda n: before + unit * (n // len(unit))


@pytest.mark.parametrize("before", ["", "x. The ", "x. The lamp is 1", "x. The lamp was built "])
@pytest.mark.parametrize("case", PROPOSED)
def test_questions_are_proposed_in_linear_work(case: str, before: str) -> None:
    assert 4 * MANY < READ
    assert_near_linear(repeated(PROPOSED[case], before), propose, FEW, MANY)


@pytest.mark.parametrize("unit", ["\n", ". ", "a.", "! \t", " "])
def test_sentences_are_told_apart_in_linear_work(unit: str) -> None:
    assert_near_linear(repeated(unit), sentences, FEW, MANY)


@pytest.mark.parametrize("unit", ["\n", ". ", "a", "a a b "])
def test_parts_are_cut_in_linear_work(unit: str) -> None:
    def cut(text: str) -> None:
        middle = len(text) // 2
        for most in (10, middle, len(text) - 1):
            first_part(text, most), last_part(text, most), part_around(text, (middle, middle + 1), most)

    assert_near_linear(repeated(unit), cut, FEW, MANY)


@pytest.mark.parametrize("unit", ["1-9,", "1,", " ", "9" * 9, "1-"])
def test_a_list_of_pages_is_read_in_linear_work(unit: str) -> None:
    assert_near_linear(repeated(unit), lambda listed: page_numbers(listed, 1000), FEW, MANY)


@pytest.mark.parametrize("unit", ["1:0.5,", "1:", ",", "9", " "])
def test_prune_steps_are_read_in_linear_work(unit: str) -> None:
    assert_near_linear(repeated(unit), parse_steps, FEW, MANY)


@pytest.mark.parametrize(("text", "passage"), [("a ", "a a a a a b"), ("ab ", "ab"), ("aa", "a" * 50 + "b")])
def test_passages_are_found_in_linear_work(text: str, passage: str) -> None:
    """Beside the prompt, which is made before and is not counted."""
    assert_near_linear(
        lambda n: prompt_of(text * (n // len(text))), lambda prompt: marked(prompt, [passage], "keep"), FEW, MANY
    )


@pytest.mark.parametrize("unit", ["a ", " ", "ß"])
def test_an_answer_is_judged_in_linear_work(unit: str) -> None:
    def made(n: int) -> tuple[str, str]:
        return unit * (n // len(unit)), unit * (n // 2 // len(unit)) + "b"

    assert_near_linear(made, lambda both: is_right(*both), FEW, MANY)
