"""The queue of a public page: nobody takes it from the others, and what nobody listens to is dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.documents.test_safely import SLOW_PDF
from tests.hosting.public_page import PublicPage, Stranger, public_page
from viz.door.client import client_of
from viz.page.health import health_report
from viz.page.stream import ENGINE_QUEUE, READING_QUEUE
from viz.page.waiting import Places

LONG = 60  # lines: a second of work or two


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicPage]:
    with public_page(tmp_path_factory.mktemp("waiting")) as page:
        yield page


@pytest.fixture
def page(served: PublicPage) -> Iterator[PublicPage]:
    """The page, idle before and after."""
    plain = served.queue.places
    yield served
    served.queue.places = replace(plain, heard_within_s=0.1)
    until_idle(served)
    served.queue.places = plain


def until_idle(page: PublicPage, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while health_report(page.site, page.page)["running"] or len(page.queue):
        assert time.monotonic() < until, "the page did not come to rest"
        time.sleep(0.02)


def test_one_client_takes_two_places_however_often_it_asks(page: PublicPage) -> None:
    greedy, other = Stranger(page, 1), Stranger(page, 2)
    posted: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: posted.append(greedy.post(LONG))) for _ in range(14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in posted) == [200] * 2 + [503] * 12
    assert "2 of your calls are waiting or running" in max(posted, key=lambda a: a.status_code).json()["detail"]
    assert other.answer(other.post())[0] == "complete"


def test_a_client_cannot_pass_for_another_by_what_it_sends(page: PublicPage) -> None:
    """The proxy adds the address that it sees; what stands before it was made up."""
    codes = []
    for number in range(4):
        made_up = {"x-forwarded-for": f"203.0.113.{number}, 198.51.100.9"}
        codes.append(Stranger(page, 9).http.post(f"{page.url}gradio_api/call/v2/compare", json={
            "document": "A lamp. " * 2000, "question": "What?", "max_new_tokens": 60}, headers=made_up).status_code)
    assert codes == [200, 200, 503, 503]


def test_what_nobody_listens_to_is_dropped_waiting_or_running(
    page: PublicPage, caplog: pytest.LogCaptureFixture
) -> None:
    silent, other = Stranger(page, 1), Stranger(page, 2)
    caplog.set_level(logging.INFO, "sliminfer.engine.engine")
    page.queue.places = replace(page.queue.places, heard_within_s=0.5)
    for _ in range(2):
        silent.post(2 * LONG, max_new_tokens=64).raise_for_status()
    until_idle(page)
    ended = [record.__dict__["outcome"] for record in caplog.records if record.name == "sliminfer.engine.engine"]
    assert set(ended) == {"stopped"}, "none came to its end, and what waited need not have begun"
    page.queue.places = replace(page.queue.places, heard_within_s=15)
    assert other.answer(other.post(2 * LONG, max_new_tokens=64))[0] == "complete"
    assert silent.post().status_code == 200


def test_a_stream_that_is_listened_to_is_left_alone(page: PublicPage) -> None:
    page.queue.places = replace(page.queue.places, heard_within_s=0.5)
    polite = Stranger(page, 1)
    posted = polite.post(LONG, max_new_tokens=16)
    assert polite.answer(posted)[0] == "complete"


def test_nothing_is_kept_for_listeners_that_never_came(page: PublicPage) -> None:
    page.queue.places = replace(page.queue.places, heard_within_s=0.1)
    for number in range(8):
        Stranger(page, 10 + number).post(1)
    until_idle(page)
    until = time.monotonic() + 30
    while page.queue.pending_messages_per_session or page.queue.pending_event_ids_session:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_whoever_has_had_the_device_least_comes_first(page: PublicPage) -> None:
    order: list[str] = []

    def ask(name: str, stranger: Stranger, lines: int) -> threading.Thread:
        posted = stranger.post(lines)

        def listen() -> None:
            stranger.answer(posted)
            order.append(name)

        thread = threading.Thread(target=listen)
        thread.start()
        return thread

    greedy, polite = Stranger(page, 20), Stranger(page, 21)
    ask("greedy", greedy, LONG).join()
    threads = [ask("meanwhile", Stranger(page, 22), LONG), ask("greedy again", greedy, 1), ask("polite", polite, 1)]
    for thread in threads:
        thread.join()
    assert order == ["greedy", "meanwhile", "polite", "greedy again"]


def test_one_client_leaves_the_last_half_of_the_places_to_others(page: PublicPage) -> None:
    first, greedy = Stranger(page, 30), Stranger(page, 31)
    first.post(2 * LONG, max_new_tokens=64).raise_for_status()  # under way, or soon
    for number in range(3):
        Stranger(page, 32 + number).post(LONG, max_new_tokens=64).raise_for_status()
    assert greedy.post(LONG, max_new_tokens=64).status_code == 200
    assert "one of your calls does already" in greedy.post(LONG).json()["detail"]
    assert Stranger(page, 36).post(LONG).status_code == 200


def test_documents_are_read_while_runs_wait(page: PublicPage) -> None:
    runners = [Stranger(page, 40 + number) for number in range(9)]
    for runner in runners:
        runner.post(LONG, max_new_tokens=64)
    assert len(page.queue.event_queue_per_concurrency_id[ENGINE_QUEUE].queue) >= 7
    reader = Stranger(page, 50)
    files = {"files": ("slow.txt", b"The lamp was lit.")}
    [path] = reader.http.post(f"{page.url}gradio_api/upload", files=files).json()
    asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    posted = reader.http.post(f"{reader.url}/read_document", json=asked)
    event, data = reader.answer(posted)
    assert (event, data[0]["text"]) == ("complete", "The lamp was lit.")
    assert health_report(page.site, page.page)["waiting"] >= 1


def test_runs_do_not_wait_for_slow_documents(page: PublicPage) -> None:
    posted = []
    for number in range(3):
        reader = Stranger(page, 60 + number)
        [path] = reader.http.post(f"{page.url}gradio_api/upload", files={"files": ("a.pdf", SLOW_PDF)}).json()
        for _ in range(2):
            asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
            posted.append(reader.http.post(f"{reader.url}/read_document", json=asked))
    assert all(answer.status_code == 200 for answer in posted)
    runner = Stranger(page, 70)
    assert runner.answer(runner.post())[0] == "complete"
    assert page.queue.event_queue_per_concurrency_id[READING_QUEUE].queue, "documents still wait, each for its 8 s"


def test_whose_documents_have_taken_long_to_read_waits_with_the_next(page: PublicPage) -> None:
    def read(reader: Stranger) -> httpx.Response:
        files = {"files": ("a.txt", b"The lamp was lit.")}
        [path] = reader.http.post(f"{page.url}gradio_api/upload", files=files).json()
        asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        return reader.http.post(f"{reader.url}/read_document", json=asked)

    page.queue.places = replace(page.queue.places, reading_s=0.05)
    slow, other = Stranger(page, 80), Stranger(page, 81)
    assert slow.answer(read(slow))[0] == "complete"
    assert "taken long to read" in read(slow).json()["detail"]
    assert other.answer(read(other))[0] == "complete"
    assert slow.answer(slow.post())[0] == "complete"
    page.queue.places = replace(page.queue.places, reading_s=60.0)
    assert slow.answer(read(slow))[0] == "complete"


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_or_a_network(host: str, client: str) -> None:
    assert client_of({"client": (host, 1)}) == client
    assert client_of({"client": None}) == ""


def test_on_a_machine_of_ones_own_nobody_is_counted() -> None:
    assert Places(32).per_client is None
