"""How much one client may have open at once, and how often it may ask: no one holds all threads and streams."""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viz.door.client import client_of
from viz.door.gate import refusal
from viz.door.pace import Pace

AT_ONCE = 32  # requests of one client: a browser keeps two streams open for each of its tabs
FILES = ("/assets/", "/static/", "/theme.css")  # the page's own, of which a browser fetches some 70 at its start
FILES_AT_ONCE = 256  # a class behind one address opens the page


class Admission:
    """Refuses with 429 what one client asks for beyond `at_once` requests that are not answered yet, and holds what it
    asks for more often than its pace.

    A request that is held is one of those at once, so that a flood waits for itself, and a client that is a little too
    quick is answered a little later. What is refused, here or further in, counts for many requests.
    """

    def __init__(
        self, app: ASGIApp, pace: Pace | None = None, at_once: int = AT_ONCE, files: int = FILES_AT_ONCE
    ) -> None:
        self._app, self._pace = app, pace or Pace()
        self._most = {False: at_once, True: files}
        self._open: Counter[tuple[str, bool]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client, of_files = client_of(scope), scope["path"].startswith(FILES)
        place, most = (client, of_files), self._most[of_files]
        if self._open[place] >= most:
            self._pace.refused(client)
            words = f"You have {most} requests under way: let one of them end first."
            await refusal(429, words, {"retry-after": "1"})(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self._pace.refused(client)
            await send(message)

        self._open[place] += 1
        try:
            held = self._pace.hold_s(client)
            if held:
                await asyncio.sleep(held)
            await self._app(scope, receive, counted)
        finally:
            self._open[place] -= 1
            if not self._open[place]:
                del self._open[place]
