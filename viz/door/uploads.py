"""Uploads: bounded in bytes for each client and for all together, so that nobody fills the disk."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viz.door.allowance import Allowance
from viz.door.bodies import UPLOAD
from viz.door.client import client_of
from viz.door.gate import refusal

MOST_FILES = 8  # in one request; the page sends one
FILES_AN_HOUR = 30  # of the largest size, for one client
MOST_BYTES = 2 * 1024**3  # of all files together
SWEEP_S = 60.0
_FILE = b"filename="


class Folder:
    """A folder of strangers' files, in which none gets older than `oldest_s` and all together no larger than `most`."""

    def __init__(self, path: Path, most: int = MOST_BYTES, oldest_s: float = 3600.0) -> None:
        self._path, self._most, self._oldest_s = path, most, oldest_s

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes more would fit, once what is too old is gone; half of a full disk stays free."""
        free = shutil.disk_usage(self._path).free if self._path.exists() else size
        return self.sweep() + size <= self._most and 2 * size <= free

    def sweep(self) -> int:
        """Remove what is too old, and the oldest of what is too much; the bytes that are left."""
        now, files = time.time(), []
        for file in self._path.rglob("*"):
            try:
                told = file.lstat()
            except OSError:  # gone in the meantime
                continue
            if not file.is_dir():
                files.append((told.st_mtime, told.st_size, file))
        total = sum(size for _, size, _ in files)
        for at, size, file in sorted(files):
            if now - at <= self._oldest_s and total <= self._most:
                break
            file.unlink(missing_ok=True)
            total -= size
        for folder in sorted(self._path.glob("*/"), reverse=True):
            if folder.is_dir() and now - folder.lstat().st_mtime > self._oldest_s and not any(folder.iterdir()):
                folder.rmdir()
        return total

    async def keep(self) -> None:
        """Sweep now and then, for as long as the page is up."""
        while True:
            await asyncio.sleep(SWEEP_S)
            await asyncio.to_thread(self.sweep)


class BoundedUploads:
    """Refuses with 413 a request of too many files, with 429 a client who sends too much, with 507 once all is full."""

    def __init__(self, app: ASGIApp, folder: Folder, largest: int, allowance: Allowance | None) -> None:
        self._app, self._folder, self._largest, self._allowance = app, folder, largest, allowance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") != UPLOAD:
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared[:20]) if declared.isdecimal() else self._largest
        if self._allowance is not None and not self._allowance.take(client_of(scope), size):
            words = f"You have uploaded {FILES_AN_HOUR} large files' worth within the hour: come back later."
            await refusal(429, words, {"retry-after": "600"})(scope, receive, send)
        elif not await asyncio.to_thread(self._folder.has_room, size):
            await refusal(507, "There is no room for uploads now: try again later.")(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app have the files as they come, as long as they are few."""
        seen, tail, too_many = 0, b"", False

        async def counted() -> Message:
            nonlocal seen, tail, too_many
            message = await receive()
            window = tail + message.get("body", b"")
            seen += window.count(_FILE)
            tail = window[-(len(_FILE) - 1) :]
            if seen > MOST_FILES:
                too_many = True
                raise _TooManyError
            return message

        async def unless_refused(message: Message) -> None:
            if not too_many:
                await send(message)

        try:
            await self._app(scope, counted, unless_refused)
        except _TooManyError:
            words = f"A request may hold up to {MOST_FILES} files: send fewer."
            await refusal(413, words, {"connection": "close"})(scope, receive, send)


class _TooManyError(Exception):
    """More files have come than one request may hold."""
