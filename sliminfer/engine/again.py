"""More prefills of both sides in turn, for the clock alone, until they say enough or the time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, Finished, Retimed, Side
from sliminfer.engine.request import PromptRequest, Request
from sliminfer.engine.timing import Timing

SIDES: tuple[Side, Side] = ("full", "pruned")


def time_again(
    engine: SlimEngine,
    request: Request,
    first: Timing,
    budget_s: float,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """A `Retimed` for each pair of prefills beyond those of `first`, which take up to `budget_s` seconds together.

    Ends early where `stop` is set, and where a side cannot finish. Sides swap places from pair to pair, since the one
    that runs first meets another state of the machine.
    """
    ready = engine.prepare(request)
    short = replace(ready, sampling=replace(ready.sampling, max_new_tokens=1))
    timing, began = first, clock()
    while timing.wants_more(clock() - began, budget_s) and not stop.is_set():
        order = SIDES if len(timing.pairs) % 2 == 0 else SIDES[::-1]
        took = {side: _ttft(engine, short, side, stop) for side in order}
        full, pruned = took["full"], took["pruned"]
        if full is None or pruned is None:
            return
        timing = replace(timing, pairs=(*timing.pairs, (full, pruned)))
        yield Retimed("pruned", clock() - began, full, pruned)


def _ttft(engine: SlimEngine, ready: PromptRequest, side: Side, stop: threading.Event) -> float | None:
    """Seconds to the first token of one side; None where it did not finish."""
    if stop.is_set():
        return None
    ended = [event for event in engine.run(ready, side, stop) if isinstance(event, Finished)]
    return ended[0].metrics.ttft_s if ended else None
