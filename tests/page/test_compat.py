"""Gradio still has, and still means, what the page takes from it unpromised."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError

from tests.coroutines import complete
from viz.door.gate import gate
from viz.page.blocks import StudioBlocks
from viz.page.compat import (
    Event,
    Queue,
    concurrency_id,
    cut_connections,
    forget_session,
    has_own_session,
    idle_sessions,
    keep_records,
    put_queue,
    refuse_events,
    running_events,
    server_functions,
    takes_events,
    upload_folder,
    waiting_events,
)


class Noting(Queue):
    """A queue that notes what it is asked to do, and otherwise does what Gradio's does."""

    def __init__(self, page: gr.Blocks) -> None:
        super().__init__(
            live_updates=True, concurrency_count=1, update_intervals=1, max_size=None, blocks=page,
            default_concurrency_limit=1,
        )  # fmt: skip
        self.noted: list[str] = []
        self.kinds: set[str] = set()

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        assert request.client.host
        self.noted.append(f"push {body.session_hash}")
        self.kinds.add(concurrency_id(self.blocks, body))
        return await super().push(body, request, username)

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        found = super().get_events()
        self.noted += [f"get {event.session_hash}" for event in (found[0] if found else [])]
        return found

    async def process_events(self, events: list[Event], *rest: Any, **more: Any) -> None:
        self.noted += [f"begin {event.session_hash}" for event in events if event.request.client]
        await super().process_events(events, *rest, **more)
        self.noted += [f"end {event.session_hash}" for event in events]

    def send_message(self, event: Event, event_message: Any) -> None:
        self.noted.append(f"tell {event.session_hash}")
        super().send_message(event, event_message)


class Slow:
    """A page with one endpoint, which answers once `go` is set, and one that tells where an upload lies."""

    def __init__(self) -> None:
        self.go, self.served = threading.Event(), 0
        with gr.Blocks() as self.page:
            gr.api(self.wait, api_name="wait", concurrency_id="slow")
            gr.api(self.place, api_name="place", queue=False)
        self.page.queue(default_concurrency_limit=1)
        self.queue = Noting(self.page)
        put_queue(self.page, self.queue)
        _, self.url, _ = self.page.launch(prevent_thread_lock=True, quiet=True)
        self.client = Client(self.url, verbose=False)

    def wait(self, number: int) -> int:
        """Its argument, once it may."""
        self.go.wait(30)
        self.served += 1
        return number

    def place(self, file: gr.FileData) -> str:
        """The path that an upload arrived under."""
        return str(file["path"])


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    try:
        yield slow
    finally:
        slow.go.set()
        slow.page.close(verbose=False)


def soon(wanted: Callable[[], bool]) -> bool:
    """Whether it becomes true within some seconds."""
    deadline = time.monotonic() + 20
    while not wanted():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)
    return True


def test_the_queue_tells_who_runs_and_who_waits_until_it_is_told_to_take_nobody(slow: Slow) -> None:
    page = slow.page
    assert takes_events(page)
    assert (running_events(page), waiting_events(page)) == (0, 0)
    first = slow.client.submit(1, api_name="/wait")
    assert soon(lambda: running_events(page) == 1)
    slow.client.submit(2, api_name="/wait")
    assert soon(lambda: waiting_events(page) == 1)
    assert running_events(page) == 1

    refuse_events(page)
    assert not takes_events(page)
    assert (running_events(page), waiting_events(page)) == (1, 0)
    with pytest.raises(QueueError):
        slow.client.predict(3, api_name="/wait")
    slow.go.set()
    assert first.result(timeout=30) == 1
    assert soon(lambda: running_events(page) == 0)
    assert slow.served == 1


def test_a_closed_page_takes_nobody(slow: Slow) -> None:
    slow.page.close(verbose=False)
    assert not takes_events(slow.page)


def test_an_upload_lies_in_the_upload_folder(slow: Slow, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("here")
    place = Path(slow.client.predict(handle_file(tmp_path / "note.txt"), api_name="/place")).resolve()
    assert place.read_text() == "here"
    assert place.is_relative_to(upload_folder())


def test_a_queue_put_in_place_is_asked_at_every_turn_of_an_event(slow: Slow) -> None:
    slow.go.set()
    assert slow.client.predict(5, api_name="/wait") == 5
    session = slow.client.session_hash
    assert soon(lambda: f"end {session}" in slow.queue.noted)
    turns = [turn for turn in slow.queue.noted if not turn.startswith("tell")]
    assert turns == [f"{turn} {session}" for turn in ("push", "get", "begin", "end")]
    assert f"tell {session}" in slow.queue.noted
    assert slow.queue.kinds == {"slow"}


def test_events_are_told_apart_by_their_session_and_end_with_it(slow: Slow) -> None:
    queue, session = slow.queue, slow.client.session_hash
    slow.client.submit(1, api_name="/wait")
    assert soon(lambda: running_events(slow.page) == 1)
    slow.client.submit(2, api_name="/wait")
    assert soon(lambda: waiting_events(slow.page) == 1)
    (running,) = [job for job in queue.active_jobs if job is not None]
    (waiting,) = queue.event_queue_per_concurrency_id["slow"].queue
    assert [event.session_hash for event in (*running, waiting)] == [session, session]
    assert running[0].alive
    assert session in queue.pending_messages_per_session
    assert session in queue.pending_event_ids_session
    complete(queue.clean_events(session_hash=session))
    assert not running[0].alive
    assert waiting_events(slow.page) == 0


def test_a_component_tells_which_functions_its_script_may_call() -> None:
    def tile(call: dict[str, Any]) -> str:
        return str(call)

    with gr.Blocks():
        part, plain = gr.HTML("", server_functions=[tile]), gr.HTML("")
    assert server_functions(part) == {"tile"}
    assert server_functions(plain) == frozenset()


def test_an_app_s_finished_stack_can_be_put_inside_a_layer() -> None:
    """From its lifespan, which is how `viz.door.gate` comes to stand outside of all that Gradio does."""
    seen: list[str] = []

    def layer(app: Any) -> Any:
        async def outer(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["path"])
            await app(scope, receive, send)

        return outer

    with gr.Blocks() as page:
        gr.HTML("here")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, app_kwargs={"lifespan": gate([layer])})
    try:
        assert httpx.get(f"{url}config").status_code == 200
        assert "/config" in seen
    finally:
        page.close(verbose=False)


def test_faults_of_events_pass_one_place() -> None:
    """`StudioBlocks` stands there to keep what was sent out of the log."""

    def break_down(number: int) -> int:
        raise KeyError(number)

    with StudioBlocks() as page:
        gr.api(break_down, api_name="break_down")
    page.queue()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        with pytest.raises(AppError, match=r"Something unforeseen went wrong \(KeyError\)"):
            Client(url, verbose=False).predict(1, api_name="/break_down")
    finally:
        page.close(verbose=False)


def test_a_session_s_state_can_be_let_go_of() -> None:
    def one() -> int:
        return 1

    with gr.Blocks() as page:
        gr.State(0)
        gr.api(one, api_name="one", queue=False)
    page.queue()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False)
        client.predict(api_name="/one")
        [session] = idle_sessions(page, 0)
        assert idle_sessions(page, 3600) == []
        forget_session(page, session)
        assert idle_sessions(page, 0) == []
        assert client.predict(api_name="/one") == 1
    finally:
        page.close(verbose=False)


def test_a_server_told_to_close_can_be_kept_from_waiting_for_open_connections(slow: Slow) -> None:
    """Gradio gives up waiting after 5 s."""
    with httpx.stream("GET", f"{slow.url}gradio_api/heartbeat/a") as alive, httpx.Client() as client:
        next(alive.iter_raw())
        client.get(f"{slow.url}config")
        line = socket.create_connection(("127.0.0.1", slow.page.server_port))
        line.sendall(b"POST /gradio_api/call/wait HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n")
        cut_connections(slow.page, 0.2)
        started = time.monotonic()
        slow.page.close(verbose=False)
        assert time.monotonic() - started < 4.5
        assert not slow.page.server.thread.is_alive()
        line.close()


def test_an_event_without_a_session_has_one_of_its_own() -> None:
    with gr.Blocks() as page:
        gr.Button().click(lambda: None)
    fn = next(iter(page.fns.values()))

    async def made() -> list[bool]:  # an event belongs to a running loop
        return [has_own_session(Event(session, fn, None, None)) for session in (None, "a")]  # type: ignore[arg-type]

    assert complete(made()) == [True, False]


def test_a_queue_keeps_so_many_records_of_past_calls() -> None:
    def one() -> int:
        return 1

    with gr.Blocks() as page:
        gr.api(one, api_name="one")
    page.queue()
    keep_records(page._queue, 2)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False)
        assert [client.predict(api_name="/one") for _ in range(4)] == [1] * 4
        assert len(page._queue.event_analytics) == 2
    finally:
        page.close(verbose=False)
