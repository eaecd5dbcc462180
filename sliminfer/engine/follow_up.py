"""The next question of a conversation: from what was read before it, else read now and kept for the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, Side
from sliminfer.engine.questions import DocumentRead, answer_from, can_read
from sliminfer.engine.reading import Reading
from sliminfer.engine.request import Request


def follow_up(
    engine: SlimEngine,
    request: Request,
    held: Reading | None,
    hold: Callable[[Reading], object],
    side: Side = "pruned",
    stop: threading.Event | None = None,
) -> Iterator[DocumentRead | Event]:
    """Answer `request` on one side, without reading again what `held` has of its prompt.

    Without it, what stands before the question is read first, given to `hold`, and told by a `DocumentRead`. What no
    reading can stand for (see `can_read`) is asked afresh.

    Raises:
        SlimError: the request cannot be run at all, `held` is not of its prompt, or the reading was stopped.
    """
    ready = engine.prepare(request)
    reading = held if can_read(engine, ready, side) else None
    if reading is None and can_read(engine, ready, side):
        began = time.perf_counter()
        reading = engine.read(ready, side, stop=stop)
        hold(reading)
        took, flops = time.perf_counter() - began, reading.flops(engine.loaded.shape)
        yield DocumentRead(side, len(reading), took, reading.nbytes, flops)
    yield from answer_from(engine, reading, ready, side, stop)
