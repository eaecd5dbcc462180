"""A passage is found as a reader would find it, in work that grows with the text and no faster."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from tests.work import assert_near_linear
from viz.page.passage import LONGEST_PASSAGE, find_passage, first_place, folded

TEXT = "On day 0 the  keeper\nlit THE lamp.\tThe keeper lit the lamp again. Straße, ΣΊΣΥΦΟΣ, İzmir."


def by_pattern(text: str, phrase: str) -> tuple[int, int] | None:
    """The plain statement of what is looked for, which takes its time."""
    found = re.search(r"\s+".join(map(re.escape, phrase.split())), text, re.IGNORECASE)
    return None if found is None else found.span()


def found(text: str, phrase: str) -> tuple[int, int] | None:
    try:
        return find_passage(text, phrase, ())
    except ConfigError:
        return None


@given(st.text("aAbßΣς \n\t", max_size=40), st.text("aAbßΣς \n", min_size=1, max_size=6))
@example(TEXT, "the keeper lit the")
@example(TEXT, "eper LIT the l")
@example(TEXT, "σίσυφος")
@example(TEXT, "again")
@example(TEXT, TEXT)
def test_the_first_place_is_the_pattern_s(text: str, phrase: str) -> None:
    if phrase.split():
        assert found(text, phrase) == by_pattern(text, phrase)


def test_a_place_that_was_picked_goes_before_the_first() -> None:
    second = TEXT.index("keeper", 20)
    assert find_passage(TEXT, "keeper", (), (second, second + 6)) == (second, second + 6)
    assert find_passage(TEXT, "keeper", (), (0, 6)) == (14, 20)


@given(st.text())
def test_one_case_keeps_every_place(text: str) -> None:
    assert len(folded(text)) == len(text)


def test_a_long_passage_is_refused_before_anything_is_searched() -> None:
    with pytest.raises(ConfigError, match=r"4,001 characters, and up to 4,000"):
        find_passage("x" * 10, "x" * (LONGEST_PASSAGE + 1), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a ", "a a a b"),
        ("a" + " " * 99, "a a b"),
        ("x y ", "x y z"),
        ("aa", "ab"),
        ("ß ", "ß ẞ ss"),
    ],
)
def test_the_work_grows_with_text_and_passage_together(text: str, words: str) -> None:
    """The passage is half as long as the text, far beyond the limit, and all but its end stands everywhere."""
    start, end = words[:-1], words[-1]

    def made(length: int) -> tuple[str, list[str]]:
        return text * (length // len(text)), (start * (length // 2 // len(start)) + end).split()

    assert_near_linear(made, lambda both: first_place(*both), 2_000, 20_000)
