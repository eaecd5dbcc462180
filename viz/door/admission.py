"""How much one client may have open at once: no one holds all threads and streams of the page."""

from __future__ import annotations

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from viz.door.client import client_of
from viz.door.gate import refusal

AT_ONCE = 32  # requests of one client: a browser sends 6, and keeps two streams open for each of its tabs


class Admission:
    """Refuses with 429 what one client asks for beyond `at_once` requests that are not answered yet."""

    def __init__(self, app: ASGIApp, at_once: int = AT_ONCE) -> None:
        self._app, self._at_once = app, at_once
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = client_of(scope)
        if self._open[client] >= self._at_once:
            words = f"You have {self._at_once} requests under way: let one of them end first."
            await refusal(429, words, {"retry-after": "1"})(scope, receive, send)
            return
        self._open[client] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
