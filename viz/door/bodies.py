"""Bodies of requests: bounded in bytes and in the time that they take to arrive, before anything is done with them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sliminfer.documents.document import MIB
from viz.door.gate import refusal

ESCAPED_BYTES = 6  # a character of JSON, where its sender writes it as \\u1234
SMALL_BYTES = 64 * 1024  # a call that carries no document
OTHER_BYTES = MIB  # what stands beside the document: the page's other values, the frame of an upload
ARRIVES_WITHIN_S = 120.0

UPLOAD = "/gradio_api/upload"
SMALL = ("/gradio_api/component_server", "/gradio_api/cancel", "/gradio_api/reset")
_BODILESS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class BodyLimits:
    """Most bytes of a body that carries a document as text, of one that carries files, and of any other."""

    text: int
    upload: int
    small: int = SMALL_BYTES

    @classmethod
    def of(cls, characters: int, upload: int) -> BodyLimits:
        """Limits for documents of up to so many `characters` as text, and files of up to `upload` bytes."""
        return cls(text=ESCAPED_BYTES * characters + OTHER_BYTES, upload=upload + OTHER_BYTES)

    def at(self, path: str) -> int:
        """Most bytes of a body that is sent to `path`."""
        if path.rstrip("/") == UPLOAD:
            return self.upload
        return self.small if path.rstrip("/") in SMALL else self.text


class _RefusedError(Exception):
    """The body under way is over its limit, or too late."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.answer = refusal(status, words, {"connection": "close"})


class BoundedBodies:
    """Refuses a body over its limit, by what it declares or as it comes, with 413, and one that is too slow with 408.

    Text is read whole before the app is called; an upload is counted while the app writes it to its folder.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, seconds: float = ARRIVES_WITHIN_S) -> None:
        self._app, self._limits, self._seconds = app, limits, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limits.at(scope["path"]), self._seconds)
        try:
            body.check(Headers(scope=scope).get("content-length", ""))
            if scope["path"].rstrip("/") != UPLOAD:
                receive = _again(await _whole(body.receive), receive)
        except _RefusedError as refused:
            await refused.answer(scope, receive, send)
            return
        if scope["path"].rstrip("/") != UPLOAD:
            await self._app(scope, receive, send)
        else:
            await self._counted(scope, body, send)

    async def _counted(self, scope: Scope, body: _Body, send: Send) -> None:
        """Call the app on a body that is counted as it comes; a refusal takes the place of its own answer."""

        async def unless_refused(message: Message) -> None:
            if body.refused is None:
                await send(message)

        with contextlib.suppress(_RefusedError):
            await self._app(scope, body.receive, unless_refused)
        if body.refused is not None:
            await body.refused.answer(scope, body.receive, send)


class _Body:
    """What comes in of a request's body, as long as its bytes and its time stay within bounds."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._most, self._left = receive, most, most
        self._until = asyncio.get_running_loop().time() + seconds
        self._whole = False
        self.refused: _RefusedError | None = None

    def check(self, declared: str) -> None:
        """Raise _RefusedError where the sender says that there is too much to come."""
        if declared.isdecimal() and int(declared[:20]) > self._most:
            self._refuse(413, f"The request is larger than {self._most:,} bytes: send less.")

    async def receive(self) -> Message:
        """The next message; raises _RefusedError."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            self._refuse(408, "The request took too long to arrive: send it again.")
        self._left -= len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._left < 0:
            self._refuse(413, f"The request is larger than {self._most:,} bytes: send less.")
        return message

    def _refuse(self, status: int, words: str) -> NoReturn:
        self.refused = _RefusedError(status, words)
        raise self.refused


async def _whole(receive: Receive) -> bytes:
    """The whole body; empty where its sender goes away."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read again; then what comes after it."""
    waiting = [body]

    async def next_message() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return next_message
