"""Readings on a hosted page: found again by the visitor who had them, by nobody else, and gone with the visit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from sliminfer.hosting.spacefile import ReadingLimits
from tests.hosting.public_page import PublicPage, Stranger, public_page
from tests.page.serving import QUESTION, long_text
from tests.page.visit import Visit

SCHEDULE = "4:25%"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicPage]:
    with public_page(tmp_path_factory.mktemp("page")) as served:
        yield served


def ask(client: Client, *questions: str, text: str = long_text(20), schedule: str = SCHEDULE) -> Any:
    return client.predict(document=text, questions=[*questions], prune=schedule, max_new_tokens=3, api_name="/ask")


def earlier(result: Any) -> list[bool]:
    return [result["reading"][side]["earlier"] for side in ("full", "pruned")]


def wait_until_empty(page: PublicPage, seconds: float) -> None:
    until = time.monotonic() + seconds
    while any(page.site.readings.held.values()):
        assert time.monotonic() < until, page.site.readings.held
        time.sleep(0.05)


def test_a_visitor_finds_what_was_read_and_nobody_else_does(page: PublicPage) -> None:
    one, other = (Client(page.url, verbose=False) for _ in range(2))
    first, again = ask(one, QUESTION), ask(one, "Who came?", QUESTION)
    assert (earlier(first), earlier(again)) == ([False, False], [True, True])
    assert again["questions"][1]["pruned"]["text"] == first["questions"][0]["pruned"]["text"]
    assert again["reading"]["pruned"]["flops"] == first["reading"]["pruned"]["flops"] > 0
    assert earlier(ask(one, QUESTION, schedule="3:25%")) == [True, False]
    assert earlier(ask(one, QUESTION, text=long_text(21))) == [False, False]
    assert earlier(ask(other, QUESTION)) == [False, False]
    for client in (one, other):
        page.site.readings.forget(client.session_hash)
    assert page.site.readings.held == {"device": 0, "host": 0, "file": 0}


def test_a_call_without_a_session_leaves_nothing(page: PublicPage) -> None:
    stranger = Stranger(page, 9)
    posted = stranger.http.post(
        f"{stranger.url}/v2/ask", json={"document": long_text(5), "questions": [QUESTION], "max_new_tokens": 2}
    )
    assert posted.is_success
    event, _ = stranger.answer(posted, "ask")
    assert event == "complete"
    wait_until_empty(page, 10)


def test_what_a_visit_had_read_goes_with_it(page: PublicPage) -> None:
    visit = Visit(page.url)
    client = Client(page.url, verbose=False)
    client.session_hash = visit.session
    ask(client, QUESTION)
    assert any(page.site.readings.held.values())
    with visit.http.stream("GET", f"{page.url}gradio_api/heartbeat/{visit.session}") as alive:
        next(alive.iter_lines())
    wait_until_empty(page, 90)  # Gradio looks for closed visits now and then; a busy machine takes longer


def test_a_damaged_file_is_read_anew_and_the_folder_goes_with_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "files"))
    with public_page(tmp_path, ReadingLimits(file_mb=64)) as page:
        client = Client(page.url, verbose=False)
        first = ask(client, QUESTION)
        assert earlier(ask(client, QUESTION)) == [True, True]
        files = list((tmp_path / "files").glob("sliminfer-readings-*/*"))
        assert len(files) == 2
        for file in files:
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        again = ask(client, QUESTION)
        assert earlier(again) == [False, False]
        assert again["questions"][0]["pruned"]["text"] == first["questions"][0]["pruned"]["text"]
        assert earlier(ask(client, QUESTION)) == [True, True]
    assert list((tmp_path / "files").glob("sliminfer-readings-*")) == []


def test_a_page_that_holds_nothing_reads_one_question_afresh(tmp_path: Path) -> None:
    with public_page(tmp_path, ReadingLimits()) as page:
        client = Client(page.url, verbose=False)
        assert ask(client, QUESTION)["reading"] == {}
        assert earlier(ask(client, QUESTION, "Who?")) == [False, False]
        assert page.site.readings.held == {"device": 0, "host": 0, "file": 0}
