"""Stopping a served page: no new run, a while for those under way, then they are stopped too."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import gradio as gr

from viz.page.compat import cut_connections, refuse_events
from viz.page.health import health_report
from viz.page.site import Site

GRACE_S = 9.0  # with what follows, less than the 15 s that the page takes at most; reading a document takes 8
STOPPING_S = 3.0  # a run that is told to stop does so at its next layer
LINGER_S = 1.0  # for answers on their way; connections that stay open are cut then
_LOOK_S = 0.05

_log = logging.getLogger(__name__)


def serve_until_told(site: Site, page: gr.Blocks, greeting: str, grace_s: float = GRACE_S) -> None:
    """Block until SIGTERM or SIGINT comes, then close the page; a second signal ends the wait for runs.

    `greeting` is printed once signals are heeded: whoever reads it may send one at once.
    """
    told, hurried = threading.Event(), threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        (hurried if told.is_set() else told).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    print(greeting, flush=True)
    told.wait()
    close(site, page, grace_s, hurried.is_set)


def close(site: Site, page: gr.Blocks, grace_s: float = GRACE_S, hurried: Callable[[], bool] = lambda: False) -> None:
    """Take no more runs, let those under way finish for `grace_s` seconds, stop the rest, and free the port."""
    report = health_report(site, page)
    _log.info("closing", extra={"waiting": report["waiting"], "outcome": f"{report['running']} under way"})
    refuse_events(page)  # /health says why
    if not _idle(site, page, grace_s, hurried):
        for flag in site.stops.under_way():
            flag.set()
        _idle(site, page, STOPPING_S, lambda: False)
    cut_connections(page, LINGER_S)
    page.close(verbose=False)
    site.shelf.close()
    site.readings.close()
    _log.info("closed")


def _idle(site: Site, page: gr.Blocks, seconds: float, hurried: Callable[[], bool]) -> bool:
    """Wait at most `seconds` for the last run to end; whether it did."""
    deadline = time.monotonic() + seconds
    while health_report(site, page)["running"]:
        if hurried() or time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    return True
