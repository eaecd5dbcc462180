"""Who listens to the streams of the queue: what nobody listens to is not worth the device's time."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from viz.page.waiting import VisitorQueue

_OF_SESSION = "/gradio_api/queue/data"
_OF_EVENT = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)/?")


class Listening:
    """Tells the queue for how long each stream of events is open."""

    def __init__(self, app: ASGIApp, queue: VisitorQueue) -> None:
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
            query = parse_qs(scope["query_string"].decode("latin-1"))
            return query.get("session_hash", [""])[0]
        asked = _OF_EVENT.fullmatch(scope["path"])
        if asked is None:
            return None
        event = self._queue.event_ids_to_events.get(asked[1])
        return asked[1] if event is None else event.session_hash
