"""First light: what a visitor sees while the page itself is still on its way.

Gradio's page is built by its scripts. What is put here stands in the HTML as it is sent, in front of what they build,
so that it is painted at once; a script of the page moves it to its place.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_APP = b"<gradio-app"
_HEAD = b"<head>"


class FirstLight:
    """Puts `head` at the beginning of the page's head, and `body` before what Gradio builds.

    Stands inside of the policy, which lets the scripts that it sees run.
    """

    def __init__(self, app: ASGIApp, head: str, body: str) -> None:
        self._app, self._head, self._body = app, head.encode(), body.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].strip("/"):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        pieces: list[bytes] = []

        async def written(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                pieces.append(message.get("body", b""))
                if not message.get("more_body", False):
                    whole = self._with_light(b"".join(pieces))
                    MutableHeaders(scope=start)["content-length"] = str(len(whole))
                    await send(start)
                    await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, written)

    def _with_light(self, page: bytes) -> bytes:
        before, app, after = page.rpartition(_APP)
        if not app:
            return page
        return before.replace(_HEAD, _HEAD + self._head, 1) + self._body + app + after


def _is_page(message: Message) -> bool:
    return Headers(scope=message).get("content-type", "").startswith("text/html")
