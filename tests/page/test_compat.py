"""Gradio still has, and still means, what the page takes from it unpromised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from viz.page.compat import refuse_events, running_events, takes_events, upload_folder, waiting_events


class Slow:
    """A page with one endpoint, which answers once `go` is set, and one that tells where an upload lies."""

    def __init__(self) -> None:
        self.go, self.served = threading.Event(), 0
        with gr.Blocks() as self.page:
            gr.api(self.wait, api_name="wait")
            gr.api(self.place, api_name="place", queue=False)
        self.page.queue(default_concurrency_limit=1)
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
