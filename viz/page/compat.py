"""All that the page uses of Gradio which Gradio does not promise to keep: the queue's inside, the place of uploads.

Each has a test in `tests/page/test_compat.py` that fails where a new version has lost it or means something else by it.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder


def waiting_events(page: gr.Blocks) -> int:
    """Events in the queue of `page` that have not begun."""
    return len(page._queue)


def running_events(page: gr.Blocks) -> int:
    """Events of `page` under way."""
    return sum(job is not None for job in page._queue.active_jobs)


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
