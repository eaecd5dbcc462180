"""All that the page uses of Gradio which Gradio does not promise to keep: the queue's inside, the place of uploads.

Each has a test in `tests/page/test_compat.py` that fails where a new version has lost it or means something else by it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.queueing import Event, EventQueue, Queue
from gradio.route_utils import get_fn
from gradio.utils import get_upload_folder

__all__ = [
    "Event",
    "EventQueue",
    "Queue",
    "concurrency_id",
    "cut_connections",
    "forget_session",
    "has_own_session",
    "idle_sessions",
    "keep_records",
    "put_queue",
    "refuse_events",
    "running_events",
    "server_functions",
    "takes_events",
    "upload_folder",
    "waiting_events",
]


def put_queue(page: gr.Blocks, queue: Queue) -> None:
    """Let `page`, which is not up yet, take events into `queue` instead of the one that Gradio made for it."""
    page._queue = queue


def concurrency_id(page: gr.Blocks, body: Any) -> str:
    """The queue of its own, within that of `page`, that an event with `body` waits in; `body` names its function."""
    return str(get_fn(page, None, body).concurrency_id)


def waiting_events(page: gr.Blocks) -> int:
    """Events in the queue of `page` that have not begun."""
    return len(page._queue)


def running_events(page: gr.Blocks) -> int:
    """Events of `page` under way."""
    return sum(job is not None for job in page._queue.active_jobs)


def server_functions(part: Any) -> frozenset[str]:
    """Names of the functions that the script of a component may call."""
    return frozenset(name for name in dir(part) if getattr(getattr(part, name, None), "_is_server_fn", False))


def cut_connections(page: gr.Blocks, seconds: float) -> None:
    """When the server of `page` closes, let it wait for open connections so long and no longer."""
    page.server.config.timeout_graceful_shutdown = seconds


def has_own_session(event: Event) -> bool:
    """Whether `event` came without a session, so that Gradio made one for it alone."""
    return bool(event.session_hash == event._id)


def forget_session(page: gr.Blocks, session: str) -> None:
    """Let go of what Gradio keeps of `session`: the state of its components."""
    page.state_holder.session_data.pop(session, None)
    page.state_holder.time_last_used.pop(session, None)


def idle_sessions(page: gr.Blocks, seconds: float) -> list[str]:
    """Sessions from which nothing has come for so long."""
    since = datetime.now() - timedelta(seconds=seconds)
    return [session for session, last in list(page.state_holder.time_last_used.items()) if last < since]


def keep_records(queue: Queue, most: int) -> None:
    """Let `queue` keep so many records of past calls, from which it makes a table after each that failed."""
    queue.ANALYTICS_MAX_EVENTS = most


def takes_events(page: gr.Blocks) -> bool:
    """Whether a newcomer's event may join the queue of `page`, now or once others have left it."""
    return not page._queue.stopped and page._queue.max_size != 0


def refuse_events(page: gr.Blocks) -> None:
    """Take no more events: whoever comes now is told that the queue is full, and what has not begun never will."""
    page._queue.max_size = 0
    for waiting in page._queue.event_queue_per_concurrency_id.values():
        waiting.queue.clear()


def upload_folder() -> Path:
    """Where Gradio puts uploaded files."""
    return Path(get_upload_folder()).resolve()
