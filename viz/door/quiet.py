"""Faults that nobody foresaw: told by kind and place, and never with what a visitor sent."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viz.door.gate import refusal
from viz.door.routes import API

_log = logging.getLogger(__name__)


class Quiet:
    """Keeps an error's words from the server's log, and turns a refused call of an event into 422.

    Gradio answers whatever an event refuses with 500, as if the page had broken.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = ended = False
        of_event = scope["path"].startswith(f"{API}/run/")

        async def told(message: Message) -> None:
            nonlocal began, ended
            if message["type"] == "http.response.start":
                began = True
                if of_event and message["status"] == 500:
                    message = {**message, "status": 422}
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, told)
        except asyncio.CancelledError:  # the server closes, and has waited for long enough
            await self._end(scope, receive, send, began, ended, refusal(503, "The page is closing: come back later."))
        except Exception as error:
            tell(_log, "a request failed", error)
            words = refusal(500, "Something unforeseen went wrong: try again.")
            await self._end(scope, receive, send, began, ended, words)

    @staticmethod
    async def _end(
        scope: Scope, receive: Receive, send: Send, began: bool, ended: bool, answer: Response
    ) -> None:
        """Give `answer` where there is none yet; end one that has begun, such as a stream, as it is."""
        if not began:
            await answer(scope, receive, send)
        elif not ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def tell(log: logging.Logger, what: str, error: BaseException) -> None:
    """Write that `what` happened, with the error's kind and where it was raised."""
    frames: list[Any] = list(traceback.extract_tb(error.__traceback__))
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    log.warning("%s: %s at %s", what, type(error).__name__, place)
