"""The next question of a conversation: from what its owner has read before, else read now and kept for the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, Side
from sliminfer.engine.questions import DocumentRead, answer_from, can_read
from sliminfer.engine.reading import reading_layer
from sliminfer.engine.reading_shelf import Owner, ReadingShelf
from sliminfer.engine.request import Request


def follow_up(
    engine: SlimEngine,
    shelf: ReadingShelf,
    owner: Owner,
    request: Request,
    side: Side = "pruned",
    stop: threading.Event | None = None,
) -> Iterator[DocumentRead | Event]:
    """Answer `request` on one side, without reading again what `owner` has on `shelf` of its prompt.

    Where nothing is there, what stands before the question is read first, put there, and told by a `DocumentRead`.
    What no reading can stand for (see `can_read`) is asked afresh. All that one owner holds must be of one model.

    Raises:
        SlimError: the request cannot be run at all, or the reading was stopped.
    """
    ready = engine.prepare(request)
    reading = None
    if can_read(engine, ready, side):
        layer = engine.loaded.layers if side == "full" else reading_layer(ready.pruning.config, engine.loaded.layers)
        reading = shelf.find(owner, side, ready.prompt.ids[: ready.prompt.question[0]], layer)
        if reading is None:
            began = time.perf_counter()
            reading = engine.read(ready, side, stop=stop)
            shelf.put(owner, side, reading)
            yield DocumentRead(side, len(reading), time.perf_counter() - began, reading.nbytes)
    yield from answer_from(engine, reading, ready, side, stop)
