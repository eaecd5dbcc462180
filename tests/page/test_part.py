"""A document that is longer than can be read: a part is read, it is said which, and it can be chosen before any run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sliminfer.documents.document import Document
from sliminfer.engine.limits import RunLimits
from sliminfer.errors import SlimError
from tests.documents import files
from tests.page.driver import Driver
from tests.page.serving import Served, long_text
from viz.page.part import or_first

PAGES = [f"Page {number} begins. {long_text(6)}" for number in range(1, 13)]


@pytest.fixture
def visit(page: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.setattr(page.site.shelf, "limits", RunLimits(prompt_tokens=1500))
    driver = Driver(page.url)
    driver.give("source", "Upload", "input")
    driver.upload("long.pdf", files.pdf(PAGES))
    yield driver
    driver.http.close()


def read(visit: Driver) -> set[int]:
    """Numbers of the pages whose beginning is shown."""
    return {number for number in range(1, 13) if f"Page {number} begins" in visit.shown("document-text")}


def test_too_long_a_document_is_read_in_part_and_can_be_run(visit: Driver) -> None:
    assert "takes up to 1,500" in visit.shown("status")
    assert visit.shown("part") == "first"
    assert 1 in read(visit)
    assert 12 not in read(visit)
    assert "Left out: 6 whole pages (7–12)" in visit.shown("part-shown")
    visit.give("question", "Who?", "input")
    visit.press("run")
    assert "Done" in visit.shown("status")
    assert "tokens can be read here; both sides would take about" in visit.shown("room")


def test_the_part_can_be_chosen(visit: Driver) -> None:
    visit.give("part", "last", "input")
    assert (1 in read(visit), 12 in read(visit)) == (False, True)
    visit.give("part", "pages", "input")
    visit.give("part-words", "3-4, 9", "blur")
    assert read(visit) == {3, 4, 9}
    assert "1–2, 5–8, 10–12" in visit.shown("part-shown")
    visit.give("part", "around", "input")
    visit.give("part-words", "page 7 BEGINS", "submit")
    assert 7 in read(visit)


@pytest.mark.parametrize(("how", "words", "told"), [
    ("pages", "99", "is no page of 1 to 12"),
    ("pages", "1-12", "and 1,500 can be read"),
    ("around", "No such words", "not in the document"),
])  # fmt: skip
def test_a_part_that_is_not_there_is_one_sentence(visit: Driver, how: str, words: str, told: str) -> None:
    before = visit.shown("document-text")
    visit.give("part", how, "input")
    visit.give("part-words", words, "submit")
    assert told in visit.shown("status")
    assert visit.shown("document-text") == before


def test_another_model_reads_as_much_as_it_has_room_for(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    start = page.site.start
    known = page.site.known(start.model)
    least = replace(known, name="short", shape=replace(known.shape, context=900 + start.max_new_tokens))
    monkeypatch.setattr(page.site, "models", {**page.site.models, "short": least})
    visit = Driver(page.url)
    visit.give("source", "Paste", "input")
    visit.give("paste", " ".join(PAGES[:8]), "input", "blur")
    assert read(visit) == set(range(1, 9))
    visit.give("model-picker", "short")
    assert "takes up to 900" in visit.shown("status")
    assert visit.shown("part") == "first"
    assert (1 in read(visit), 8 in read(visit)) == (True, False)
    visit.give("part", "last", "input")
    visit.give("model-picker", start.model)
    assert (1 in read(visit), 8 in read(visit)) == (False, True)  # a part that was asked for stays
    visit.give("model-picker", "short")
    visit.give("part", "first", "input")
    visit.give("model-picker", start.model)
    assert read(visit) == set(range(1, 9))
    visit.http.close()


def test_a_page_without_text_is_no_part(page: Served) -> None:
    visit = Driver(page.url)
    visit.give("source", "Upload", "input")
    visit.upload("blank.pdf", files.pdf([PAGES[0], "", PAGES[1]]))
    visit.give("part", "pages", "input")
    visit.give("part-words", "2", "submit")
    assert "Pages 2 hold no text" in visit.shown("status")
    visit.http.close()


def test_of_a_pasted_text_the_part_that_is_shown_is_run(visit: Driver) -> None:
    visit.give("source", "Paste", "input")
    visit.give("paste", " ".join(PAGES[:8]), "input", "blur")
    visit.give("part", "last", "input")
    assert (1 in read(visit), 8 in read(visit)) == (False, True)
    visit.give("question", "Who?", "input")
    visit.press("run")
    assert "Done" in visit.shown("status")
    assert (1 in read(visit), 8 in read(visit)) == (False, True)


def test_a_pasted_text_that_never_lost_the_focus_is_read_in_part_too(visit: Driver) -> None:
    visit.give("source", "Paste", "input")
    visit.give("question", "Who?", "input")
    visit.give("paste", " ".join(PAGES[:8]), "input")
    visit.press("run")
    assert "Done" in visit.shown("status")
    assert (1 in read(visit), 8 in read(visit)) == (True, False)


def test_where_nothing_fits_it_is_said() -> None:
    document = Document(text="words " * 50, name="a", kind="text", encoding=None, pages=None, characters=300)
    with pytest.raises(SlimError, match="room for 0 tokens"):
        or_first(lambda text: len(text.split()), document, 50, -5)
