"""Headers: what a browser may do with the page, and, on a machine of one's own, under which names the page answers.

A page that listens on this machine answers every site that a browser there looks at, unless it takes care: a site can
send forms to it, and by pointing a name of its own at 127.0.0.1 (DNS rebinding) read it too. So there the name that is
asked for, and the site that a request comes from, must be this machine's own. A public page is for everyone, but for no
one's cookies.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers as Read
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viz.door.gate import refusal

HOSTS_VARIABLE = "SLIMINFER_HOSTS"
SPACE_FRAMES = ("https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space")
_PLAIN = "default-src 'none'; sandbox; frame-ancestors {frames}"  # of what is no page; a file that was uploaded, say


@dataclass(frozen=True)
class Whereabouts:
    """Where a page is served.

    public: to everyone; else to whoever sits at this machine.
    hosts: names that it is reached under besides this machine's own.
    frames: sites that may show it in a frame besides itself.
    """

    public: bool
    hosts: frozenset[str] = frozenset()
    frames: tuple[str, ...] = ()

    @classmethod
    def of(cls, public: bool, environment: Mapping[str, str]) -> Whereabouts:
        """By the environment: SLIMINFER_HOSTS names hosts, commas between them; SPACE_ID means the Hub's frames."""
        named = {name.strip().lower() for name in environment.get(HOSTS_VARIABLE, "").split(",")} - {""}
        return cls(public, frozenset(named), SPACE_FRAMES if environment.get("SPACE_ID") else ())

    @property
    def ancestors(self) -> str:
        """For `frame-ancestors`."""
        return " ".join(("'self'", *self.frames))

    def is_own(self, host: str) -> bool:
        """Whether `host`, with or without a port, is a name that this machine goes by: an address always is."""
        name = (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost") or name in self.hosts or _is_address(name):
            return True
        here = socket.gethostname().lower()
        return name in (here, f"{here}.local", here.partition(".")[0])


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Headers:
    """Adds the page's headers to every answer in place of Gradio's, and refuses what comes by another name."""

    def __init__(self, app: ASGIApp, where: Whereabouts) -> None:
        self._app, self._where = app, where

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._write(MutableHeaders(scope=message))
            await send(message)

        answer = self._refused(scope)
        if answer is None and self._where.public and scope["method"] == "OPTIONS":
            allowed = {"access-control-allow-methods": "GET, POST", "access-control-allow-headers": "content-type"}
            answer = Response(status_code=204, headers=allowed)
        await (answer or self._app)(scope, receive, told)

    def _refused(self, scope: Scope) -> Response | None:
        """The refusal of a request that a site made which is none of this machine's; None for any other."""
        read = Read(scope=scope)
        if self._where.public:
            return None
        if not self._where.is_own(read.get("host", "")):
            words = f"This page answers to this machine's own names: add others to {HOSTS_VARIABLE}."
            return refusal(421, words)
        origin = read.get("origin")
        if origin is not None and not self._is_from_here(origin, read.get("host", "")):
            return refusal(403, "The request comes from another site: open the page itself.")
        return None

    def _is_from_here(self, origin: str, host: str) -> bool:
        site = urlsplit(origin).netloc
        return bool(site) and (site == host or self._where.is_own(site))

    def _write(self, headers: MutableHeaders) -> None:
        for name in _of_sharing(headers.keys()):
            if name not in ("access-control-allow-methods", "access-control-allow-headers"):
                del headers[name]
        if self._where.public:
            headers["access-control-allow-origin"] = "*"  # and no cookies: whoever calls may call from anywhere
        headers["x-content-type-options"] = "nosniff"
        headers["referrer-policy"] = "same-origin"
        headers["permissions-policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        headers.setdefault("content-security-policy", _PLAIN.format(frames=self._where.ancestors))


def _of_sharing(names: Iterable[str]) -> list[str]:
    return [name for name in set(names) if name.startswith("access-control-")]
