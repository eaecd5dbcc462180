"""From the engine's events to page updates: the run on its own thread, the page at its own pace.

The engine must not wait for the browser (its clock is running), and the browser must not get more than it
can draw. So the events go into an inbox at once, and `paced` hands the page a moment to draw a few times a
second, and one more whenever nothing happened for a while, so that a closed page is noticed.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from sliminfer.errors import SlimError

T = TypeVar("T")

ENGINE_QUEUE = "engine"  # every event that computes shares this queue: one at a time
READING_QUEUE = "reading"  # every event that reads an upload, which must not wait for those nor they for it
READERS = 2  # uploads read at the same time
TEXT_PERIOD_S = 1 / 15  # answers grow smoothly at 15 updates a second
FIGURE_PERIOD_S = 0.5  # figures twice a second: more than that only flickers
QUIET_PERIOD_S = 0.25  # a closed page is noticed within this time


class _End:
    """Last thing in the inbox: the work is over, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def on_thread(start: Callable[[], Iterator[T]], executor: Executor, stop: threading.Event) -> Generator[T | None]:
    """Items of `start()`, worked off on `executor`; None whenever `QUIET_PERIOD_S` passes without one.

    Setting `stop`, or closing this generator, closes `start()`'s iterator at its next item. What the work
    raises is raised here.
    """
    inbox: SimpleQueue[T | _End] = SimpleQueue()

    def work() -> None:
        error: BaseException | None = None
        try:
            items = start()
            try:
                for item in items:
                    inbox.put(item)
                    if stop.is_set():
                        break
            finally:
                close = getattr(items, "close", None)
                if close is not None:
                    close()
        except BaseException as caught:  # handed over to the thread that draws the page
            error = caught
        inbox.put(_End(error))

    executor.submit(contextvars.copy_context().run, work)
    try:
        while True:
            try:
                item = inbox.get(timeout=QUIET_PERIOD_S)
            except Empty:
                yield None
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()


@dataclass(frozen=True)
class Beat(Generic[T]):
    """A moment to draw: what happened since the last one, and whether figures are due too."""

    items: tuple[T, ...]
    figures: bool


def paced(items: Generator[T | None], clock: Callable[[], float] = time.monotonic) -> Generator[Beat[T]]:
    """`items` gathered into beats: at most one a `TEXT_PERIOD_S`, with figures at most one a `FIGURE_PERIOD_S`.

    A last beat, with figures, carries whatever is left when `items` end.
    """
    pending: list[T] = []
    text_at = figures_at = -math.inf
    with contextlib.closing(items):
        for item in items:
            if item is not None:
                pending.append(item)
            now = clock()
            if now - text_at < TEXT_PERIOD_S:
                continue
            figures = now - figures_at >= FIGURE_PERIOD_S
            yield Beat(tuple(pending), figures)
            pending.clear()
            text_at = clock()
            figures_at = text_at if figures else figures_at
    yield Beat(tuple(pending), True)


def plain_message(error: BaseException) -> str:
    """One sentence for the visitor: ours as it is, anything else as an unforeseen fault with its kind."""
    if isinstance(error, SlimError):
        return str(error)
    return f"Something unforeseen went wrong ({type(error).__name__}): run again, and report it if it stays."
