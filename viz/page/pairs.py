"""Both sides of a run, as often as was asked for, and then for the clock alone until the times say enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from sliminfer.engine.again import time_again
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event
from sliminfer.engine.race import how_to_start, race
from sliminfer.engine.request import RunRequest
from viz.page.live import LiveRun
from viz.page.setup import Setup
from viz.page.site import Site

SPARE_S = 2.0  # left of the time that a host allows for a click, so that a finished run is never cut off by its timing


def pairs(site: Site, setup: Setup, wanted: RunRequest, stop: threading.Event) -> Iterator[Event]:
    """Events of the run; on a thread of the shelf's worker."""
    engine, began, live = site.shelf.engine(setup.model), time.monotonic(), LiveRun(of=setup.repeats)
    for _ in range(setup.repeats):
        for event in _once(site, engine, setup.model, wanted, stop):
            live = live.after(event)
            yield event
    budget = site.patience_s
    if site.shelf.limits.seconds is not None:
        budget = min(budget, site.shelf.limits.seconds - SPARE_S - (time.monotonic() - began))
    if live.complete and live.timing is not None:
        yield from time_again(engine, wanted, live.timing, budget, stop)


def _once(
    site: Site, engine: SlimEngine, model: str, wanted: RunRequest, stop: threading.Event
) -> Iterator[Event]:
    """Both sides: at the same time where two equal devices are free for it, else one after the other."""
    if how_to_start(site.shelf.lanes(model)) == "race":
        yield from race(engine, lambda: site.shelf.engine(model), site.shelf.worker, engine.prepare(wanted), stop)
    else:
        yield from engine.compare(wanted)
