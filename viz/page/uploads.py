"""Which visits hold which uploaded files: a file goes once the last of them has ended."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import gradio as gr

from viz.page.compat import forget_session, idle_sessions, upload_folder
from viz.page.session import TIME_TO_LIVE_S

LOOK_S = 60.0


class Uploads:
    """Files by the sessions that uploaded them. Gradio gives two uploads of one file one place."""

    def __init__(self) -> None:
        self._holders: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def note(self, session: str, path: str) -> None:
        """`session` has uploaded the file at `path`."""
        with self._lock:
            self._holders.setdefault(path, set()).add(session)

    def forget(self, session: str) -> None:
        """`session` is over: remove the files that nobody else holds."""
        with self._lock:
            for holders in self._holders.values():
                holders.discard(session)
            gone = [path for path, holders in self._holders.items() if not holders]
            for path in gone:
                del self._holders[path]
        for path in gone:
            file = Path(path).resolve()
            if file.is_relative_to(upload_folder()):
                with contextlib.suppress(OSError):
                    file.unlink()
                    file.parent.rmdir()  # named after the file's content, and holds nothing else


def forgetting(
    page: gr.Blocks, forget: Callable[[str], None], forget_idle: Callable[[float], None]
) -> Callable[[], Coroutine[None, None, None]]:
    """The chore of forgetting visits from which nothing has come for an hour, for as long as the page is up."""

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for session in idle_sessions(page, TIME_TO_LIVE_S):
                forget_session(page, session)
                forget(session)
            await asyncio.to_thread(forget_idle, TIME_TO_LIVE_S)

    return look
