"""Who listens to the streams of the queue: what nobody listens to is not worth the device's time."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Protocol
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

_OF_SESSION = "/gradio_api/queue/data"
_OF_EVENT = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)/?")


class Heard(Protocol):
    """A queue that counts its listeners."""

    def session_of(self, event: str) -> str:
        """The session that event belongs to; an event of no session is one of its own."""
        ...

    def listening(self, session: str) -> AbstractContextManager[None]:
        """The block is the time for which somebody listens to the events of `session`."""
        ...


class Listening:
    """Tells the queue for how long each stream of events is open."""

    def __init__(self, app: ASGIApp, queue: Heard) -> None:
        self._app, self._queue = app, queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._session(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if session is None:
            await self._app(scope, receive, send)
            return
        with self._queue.listening(session):
            await self._app(scope, receive, send)

    def _session(self, scope: Scope) -> str | None:
        """The session whose events the request asks for; None for a request for anything else."""
        if scope["path"].rstrip("/") == _OF_SESSION:
            query: dict[str, list[str]] = parse_qs(scope["query_string"].decode("latin-1"))
            return query.get("session_hash", [""])[0]
        asked = _OF_EVENT.fullmatch(scope["path"])
        if asked is None:
            return None
        return self._queue.session_of(asked[1])
