"""The suite `real`: its questions as they are stored, and how documents are read, left out and refused.

Quotes are held to the documents where those were fetched: `python benchmarks/real_documents.py data`.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sliminfer.errors import SlimError
from sliminfer.evaluate.evaluate import work_list
from sliminfer.evaluate.left_out import asked, left_out
from sliminfer.tasks.real import FOLDER, QUESTIONS, RealQuestion, RealSuite, check_evidence, in_turns, read_document
from sliminfer.tasks.real import read_questions as read
from sliminfer.tasks.real_documents import DOCUMENTS, RealDocument, plain_text
from sliminfer.tasks.scoring import contains_answer
from tests.tasks.made_real import TEXT, made, row
from tests.tiny import tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]
FETCHED = ROOT / "data" / FOLDER
STORED = read(QUESTIONS)
TWO_PLACES = [question for question in STORED if len(question.evidence) == 2]
NAMES = [document.name for document in DOCUMENTS]
FAR = 2000  # characters between two places, about 500 tokens


def about(name: str) -> list[RealQuestion]:
    return [question for question in STORED if question.document == name]


def squeezed(text: str) -> str:
    return " ".join(text.split()).lower()


def test_there_are_enough_questions_about_enough_long_documents() -> None:
    assert len(STORED) >= 120
    assert len(NAMES) == len(set(NAMES)) >= 15
    assert set(NAMES) == {question.document for question in STORED}
    assert min(Counter(question.document for question in STORED).values()) >= 6
    for document in DOCUMENTS:
        assert 4_000 <= document.tokens <= 30_000, document.name
        assert document.title, document.name
        assert document.licence, document.name
        assert len(document.sha256) == 64, document.name


def test_most_documents_do_not_depend_on_debian() -> None:
    assert sum(document.registry == "pypi" for document in DOCUMENTS) >= 15


def test_every_question_is_asked_once() -> None:
    assert max(Counter(squeezed(question.question) for question in STORED).values()) == 1
    assert all(question.question.endswith(("?", ".")) for question in STORED)


@pytest.mark.parametrize("name", NAMES)
def test_answers_stand_in_short_quotes_and_not_in_the_question(name: str) -> None:
    for question in about(name):
        evidence = squeezed(" ".join(quote.text for quote in question.evidence))
        for wordings in question.answers:
            assert any(squeezed(wording) in evidence for wording in wordings), question
            assert not any(contains_answer(question.question, wording) for wording in wordings), question
            assert len(wordings[0]) > 1, question  # a single digit would be found in many a reply
        assert 1 <= len(question.evidence) <= 2, question
        assert all(10 < len(quote.text) <= 200 for quote in question.evidence), question


def test_a_third_of_the_questions_need_two_places_far_from_each_other() -> None:
    assert len(TWO_PLACES) >= len(STORED) / 3
    for question in TWO_PLACES:
        first, second = sorted(quote.at for quote in question.evidence)
        assert second - first >= FAR, question
        assert len(question.answers) == 2, question


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_the_evidence_is_spread_over_the_document(document: RealDocument) -> None:
    places = [quote.at for question in about(document.name) for quote in question.evidence]
    assert max(places) - min(places) >= 2 * document.tokens  # a token is 3.5 to 5 characters of these


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_quote_is_in_its_document_once(document: RealDocument) -> None:
    text = read_document(FETCHED, document)
    if not text:
        pytest.skip("not fetched: python benchmarks/real_documents.py data")
    for question in about(document.name):
        check_evidence(question, text)
        assert all(text.count(quote.text) == 1 for quote in question.evidence), question
    places = [quote.at / len(text) for question in about(document.name) for quote in question.evidence]
    assert min(places) < 0.4
    assert max(places) > 0.6


def test_an_item_has_the_whole_document_and_its_evidence(tmp_path: Path) -> None:
    both = {
        "document": "log",
        "question": "When was the lamp lit, and when did it go out?",
        "answers": [["nine", "9"], ["five", "5"]],
        "evidence": [{"quote": "lamp at nine", "at": 19}, {"quote": "out at five", "at": TEXT.index("out at five")}],
    }
    item = made(tmp_path, {"log": TEXT}, [both]).item(2048, 0)
    assert item.document == TEXT
    assert [TEXT[slice(*span)] for span in item.evidence] == ["lamp at nine", "out at five"]
    assert item.answers == ("nine", "five")
    assert [item.score(reply) for reply in ("At 9, and out at five.", "At nine.", "Never.")] == [1.0, 0.5, 0.0]
    prompt = item.prompt(tiny_tokenizer())
    kept = tiny_tokenizer().decode([prompt.ids[i] for i in range(*prompt.token_range(*item.evidence[1]))])
    assert "out at five" in kept


def test_a_document_that_is_longer_than_the_context_is_left_out_and_counted(tmp_path: Path) -> None:
    suite = made(tmp_path, {"long": TEXT * 4, "short": TEXT}, [row("long"), row("short")])
    context = len(suite.item(8192, 1).prompt(tiny_tokenizer())) + 100
    [left] = left_out([suite], [context, 8192], 9)
    assert (left.context, left.examples, left.of) == (context, 1, 2)
    assert left.sentence().endswith("leaves out 1 of 2 examples: the document is longer than the context")
    assert asked([suite], context, 9) == [1]
    assert [(work.context, work.index) for work in work_list([suite], {context: [], 8192: []}, 9)] == [
        (8192, 0),
        (context, 1),
        (8192, 1),
    ]
    with pytest.raises(SlimError, match="cannot be asked at"):
        suite.item(context, 0)
    with pytest.raises(SlimError, match=r"can be asked at 10 tokens: choose a larger --context"):
        asked([suite], 10, 9)


def test_what_is_asked_fits_the_context(tmp_path: Path) -> None:
    suite = made(tmp_path, {"log": TEXT}, [row("log")])
    least = next(context for context in range(10, 4096) if not suite.why_not(context, 0))
    item = suite.item(least, 0)
    assert len(item.prompt(tiny_tokenizer())) + item.max_new_tokens <= least


def test_questions_about_a_document_that_was_not_fetched_are_left_out(tmp_path: Path) -> None:
    suite = made(tmp_path, {"here": TEXT, "gone": TEXT}, [row("gone"), row("here")], absent="gone")
    assert "fetch it with: python benchmarks/real_documents.py" in suite.why_not(8192, 0)
    assert suite.item(8192, 1).document == TEXT


def test_a_folder_without_documents_says_how_to_fetch_them(tmp_path: Path) -> None:
    with pytest.raises(SlimError, match=r"holds none of the documents: .*benchmarks/real_documents.py"):
        RealSuite(tmp_path, tiny_tokenizer())


def test_a_text_that_was_changed_is_refused(tmp_path: Path) -> None:
    made(tmp_path, {"log": TEXT}, [row("log")])
    (tmp_path / FOLDER / "log.txt").write_text(TEXT + "!\n")
    with pytest.raises(SlimError, match="is not the text that the questions are about"):
        read_document(tmp_path / FOLDER, replace(DOCUMENTS[0], name="log"))


@pytest.mark.parametrize(
    ("quote", "at", "words"), [("lamp at nine", 0, "but at 19"), ("lamp at ten", 0, "nor anywhere else")]
)
def test_a_quote_at_the_wrong_place_is_told_with_the_right_one(tmp_path: Path, quote: str, at: int, words: str) -> None:
    with pytest.raises(SlimError, match=words):
        made(tmp_path, {"log": TEXT}, [row("log", quote=quote, at=at)])


@pytest.mark.parametrize("broken", [{"evidence": [{"quote": "lamp"}]}, {"answers": 3}, {"evidence": ["lamp"]}])
def test_a_record_of_another_form_is_told_with_its_number(tmp_path: Path, broken: dict[str, Any]) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(row("log")) + "\n" + json.dumps(row("log") | broken) + "\n")
    with pytest.raises(SlimError, match=r"Record 2 of .* of another form"):
        read(path)


def test_documents_take_turns() -> None:
    turns = in_turns(STORED)
    assert {question.document for question in turns[: len(NAMES)]} == set(NAMES)
    assert Counter(turns) == Counter(STORED)
    for name in NAMES:
        assert [question for question in turns if question.document == name] == about(name)


def test_plain_text_is_the_same_whatever_the_platform_wrote() -> None:
    assert plain_text(b"\xef\xbb\xbf\r\none\r\n\ftwo\x1f\tthree\r\n\r\n") == "one\ntwo\tthree\n"
