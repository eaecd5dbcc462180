"""The Content-Security-Policy of the page: nothing from elsewhere, and no script but those that it came with.

A script that got into the page as text, in a document's name or an answer, would not run: inline scripts run by their
hash, which is taken from each page as it is sent. `unsafe-eval` stays, as Gradio builds the scripts of its components,
all of which are the page's own, from text; so do inline styles, by which figures are drawn.
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; connect-src 'self'; "
    "worker-src 'self' blob:; manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors {frames}"
)


class PagePolicy:
    """Adds the policy to every page of HTML; stands inside of what compresses it."""

    def __init__(self, app: ASGIApp, ancestors: str) -> None:
        self._app, self._ancestors = app, ancestors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        pieces: list[bytes] = []

        async def held_back(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                pieces.append(message.get("body", b""))
                if not message.get("more_body", False):
                    whole = b"".join(pieces)
                    MutableHeaders(scope=start)["content-security-policy"] = policy(whole, self._ancestors)
                    await send(start)
                    await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, held_back)


def policy(page: bytes, ancestors: str) -> str:
    """The policy of one page, which `ancestors` may show in a frame."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(page)]
    scripts = " ".join(f"'sha256-{each}'" for each in dict.fromkeys(hashes))
    return " ".join(_POLICY.format(scripts=scripts, frames=ancestors).split())


def _is_page(message: Message) -> bool:
    return Headers(scope=message).get("content-type", "").startswith("text/html")
