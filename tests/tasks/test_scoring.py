"""Scores lie in [0, 1] and ask for whole words."""

import pytest

from sliminfer.tasks.example import Example
from sliminfer.tasks.scoring import all_of, contains_answer, score, verbatim_words


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("48213.", 1.0),
        ("The access code is 48213, I think.", 1.0),
        ("482130", 0.0),
        ("4821", 0.0),
        ("", 0.0),
    ],
)
def test_an_answer_counts_as_whole_words_only(reply: str, expected: float) -> None:
    assert contains_answer(reply, "48213") == expected


def test_case_and_punctuation_do_not_matter_for_a_name() -> None:
    assert contains_answer("tessa quillon!", "Tessa Quillon") == 1.0


def test_all_of_is_the_share_found_in_any_order() -> None:
    assert all_of("c, a", ("a", "b", "c", "d")) == 0.5


def test_a_quotation_has_to_begin_at_once_and_keep_its_punctuation() -> None:
    assert verbatim_words(" the lantern, slowly and more", "the lantern, slowly") == 1.0
    assert verbatim_words("the lantern slowly", "the lantern, slowly") == 0.0
    assert verbatim_words("Well, the lantern, slowly", "the lantern, slowly") == 0.0


@pytest.mark.parametrize("reply", ["", "a", "a b", "x" * 1000, "\n", "B, A."])
def test_every_score_is_a_share(reply: str) -> None:
    for suite in ("needle", "multivalue", "quote"):
        assert 0.0 <= score(Example(suite, "a b", "?", ("a", "b"), ((0, 1), (2, 3))), reply) <= 1.0
