"""A true race: full on one device and pruned on another of the same kind, at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Literal

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Compared, Event, Finished, Side
from sliminfer.engine.metrics import Comparison
from sliminfer.engine.request import PromptRequest

Start = Literal["race", "in turn"]

GIVE_UP_S = 0.5  # a second device that is not there by then is busy with somebody else's run


@dataclass(frozen=True)
class Lane:
    """A device as far as a race is concerned.

    Attributes:
        kind: "cuda", "cpu" or another; two lanes of a CPU are one machine.
        name: what the maker calls it: only devices of one name are equal.
        index: which of them it is.
        loaded: whether the model is in its memory already.
        busy: whether it computes for somebody.
    """

    kind: str
    name: str
    index: int
    loaded: bool
    busy: bool


def how_to_start(lanes: Sequence[Lane]) -> Start:
    """Whether both sides may race: on two of several equal accelerators that are free and hold the model.

    Two lanes on one device, or on a CPU, would share what they are timed by. Where not all are equal, nobody knows
    which of them a side would get.
    """
    equal = len({(lane.kind, lane.name) for lane in lanes}) == 1 and all(lane.kind == "cuda" for lane in lanes)
    free = {lane.index for lane in lanes if lane.loaded and not lane.busy}
    return "race" if equal and len(free) > 1 else "in turn"


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def race(
    here: SlimEngine,
    there: Callable[[], SlimEngine],
    executor: Executor,
    ready: PromptRequest,
    stop: threading.Event | None = None,
) -> Iterator[Event]:
    """Events of the full run on `here` and of the pruned run on another thread's engine, as they come, then `Compared`.

    `there` is called on a thread of `executor` and gives that thread's engine. Where no thread is free for
    `GIVE_UP_S` seconds, the sides run in turn on `here`.
    """
    inbox: SimpleQueue[Event | _End] = SimpleQueue()
    begun, over = threading.Event(), stop or threading.Event()

    def work(engine: Callable[[], SlimEngine], side: Side) -> None:
        try:
            for event in engine().run(ready, side, over):
                inbox.put(event)
            inbox.put(_End())
        except BaseException as error:  # handed over to whoever listens
            inbox.put(_End(error))

    def far() -> None:
        begun.set()
        work(there, "pruned")

    other = executor.submit(far)
    if not begun.wait(GIVE_UP_S) and other.cancel():
        yield from here.compare(ready, stop)
        return
    near = threading.Thread(target=work, args=(lambda: here, "full"), name="race")
    near.start()
    finished: dict[str, Finished] = {}
    left = 2
    try:
        while left:
            item = inbox.get()
            if isinstance(item, _End):
                left -= 1
                if item.error is not None:
                    raise item.error
                continue
            if isinstance(item, Finished):
                finished[item.side] = item
            yield item
    finally:
        if left:
            over.set()
        near.join()
    if len(finished) == 2:
        full, pruned = finished["full"], finished["pruned"]
        last = max(full.at, pruned.at)
        yield Compared("pruned", last, Comparison.of(full.metrics, pruned.metrics), raced=True)
