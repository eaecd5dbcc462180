"""Questions made of a text: sensible where there are any, always the same, and none where nothing is sure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.page.serving import long_text
from viz.page.examples import examples
from viz.page.proposals import MOST, place_of, propose


def test_the_examples_answer_what_is_proposed() -> None:
    for example in examples():
        text = example.document().text
        found = propose(text)
        assert found == propose(text)
        assert found, example.title
        for each in found:
            said = " ".join(text[slice(*each.evidence)].split())
            subject = each.question.removesuffix("?").split(" ", 3)[3]
            assert subject in said
            assert place_of(each.question, text) == (each.evidence,)


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        ("The capital of Ruritania is Strelsau. It rains.", ["What is the capital of Ruritania?"]),
        ("The bridge of Arn was opened to traffic in 1911.", ["When was the bridge of Arn opened?"]),
        ("The code is\n48213.", ["What is the code?"]),
        ("The code is 48213. The code is 48214.", []),  # twice: which one?
        ("The first one is 3.", []),
        ("The man who came was 40.", []),
        ("But the code is 48213.", []),
        ("Der Turm ist 30 Meter hoch. La torre mide 30 metros.", []),
        ("", []),
    ],
)
def test_a_sentence_becomes_a_question_or_nothing(text: str, questions: list[str]) -> None:
    assert [each.question for each in propose(text)] == questions


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=400), st.integers(0, 20))
def test_any_text_gives_few_questions_about_itself(text: str, lines: int) -> None:
    text = f"{text} {long_text(lines)} {text}"
    found = propose(text)
    assert len(found) <= MOST
    assert all(each.question.endswith("?") and text[slice(*each.evidence)] for each in found)
