"""The Conversation tab: a document is read once, each answer is that of a fresh run, and visits stay apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import SlimConfig
from tests.page.driver import Driver
from tests.page.serving import LAYERS, QUESTION, Served, served
from viz.figures.words import escape
from viz.page.talk import MOST_TURNS, Talk

SECOND = "Who wrote the weather down?"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("talk")) as up:
        yield up


def asks(visit: Driver, question: str) -> str:
    visit.choose(next_question=question)
    visit.press("ask-next")
    return str(visit.shown("talk"))


def answers(shown: str) -> list[str]:
    return re.findall(r'<p class="said">(.*?)</p>', shown, re.DOTALL)


def answer_afresh(page: Served, question: str, history: tuple[tuple[str, str], ...] = ()) -> str:
    document = page.site.examples[0].document()
    engine = page.site.shelf.engine(page.site.start.model)
    request = RunRequest(document.text, question, page.site.start.config(), 8, history=history)
    return RunResult.of(engine.run(request)).pruned.text


def test_every_turn_is_answered_as_if_asked_afresh_and_the_document_is_read_once(page: Served) -> None:
    visit = Driver(page.url)
    first = asks(visit, QUESTION)
    assert "once the document was read, which took" in first
    assert visit.shown("next-question") == ""
    both = asks(visit, SECOND)
    assert both.count("once the document was read") == 1
    assert "with the document read again" in both
    assert "Held between questions" in both
    told = [re.sub("<.*?>", "", answer).strip() for answer in answers(both)]
    one = answer_afresh(page, QUESTION)
    two = answer_afresh(page, SECOND, ((QUESTION, one),))
    assert told == [escape(one.strip()), escape(two.strip())]
    assert "What each question kept" in visit.shown("talk-kept")
    assert "Who wrote the weather down?" in visit.shown("talk-kept")


def test_a_visit_neither_sees_nor_uses_what_another_has_read(page: Served) -> None:
    one, other = Driver(page.url), Driver(page.url)
    asks(one, QUESTION)
    assert "once the document was read" in asks(other, QUESTION)
    assert len(answers(str(other.shown("talk")))) == 1
    held = sum(page.site.readings.held.values())
    page.site.forget(one.session)
    assert 0 < sum(page.site.readings.held.values()) < held
    page.site.forget(other.session)


def test_another_document_or_pruning_begins_another_conversation(page: Served) -> None:
    before, visit = page.site.readings.held, Driver(page.url)
    asks(visit, QUESTION)
    visit.give("example", "archive", "input")
    assert answers(str(visit.shown("talk"))) == []
    visit.give("example", "tower", "input")
    asks(visit, QUESTION)
    visit.give("preset", "gentle", "input")
    again = asks(visit, SECOND)
    assert len(answers(again)) == 1
    assert "once the document was read" in again
    visit.press("talk-anew")
    assert answers(str(visit.shown("talk"))) == []
    assert page.site.readings.held == before


def test_an_empty_question_and_an_endless_talk_are_one_sentence(page: Served) -> None:
    visit = Driver(page.url)
    asks(visit, "   ")
    assert "question is empty" in visit.shown("status")
    for number in range(MOST_TURNS):
        asks(visit, f"Question {number}?")
    asks(visit, "One more?")
    assert "begin anew" in visit.shown("status")
    assert len(answers(str(visit.shown("talk")))) == MOST_TURNS


def test_markup_in_a_question_is_text(page: Served) -> None:
    shown = asks(Driver(page.url), "<img src=x onerror=alert(1)>")
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_a_talk_goes_on_only_about_the_same() -> None:
    config = SlimConfig.preset("paper", LAYERS)
    talk = Talk().about(None, "model", config, Talk().hands)
    going = replace(talk, full_bytes=3, turns=(object(),))  # type: ignore[arg-type]
    assert going.about(None, "model", config, talk.hands) is going
    assert going.about(None, "other", config, talk.hands).turns == ()
    assert going.about(None, "model", config.with_changes(sink=2), talk.hands).turns == ()

