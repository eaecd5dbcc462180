"""Bodies over their limit are refused by what they declare, or as they come, and never kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.coroutines import complete
from tests.page.serving import QUESTION, Served
from viz.door.bodies import UPLOAD, BodyLimits, BoundedBodies

LIMITS = BodyLimits(text=1000, upload=5000, small=100)
PATHS = {"/gradio_api/call/compare": 1000, UPLOAD: 5000, "/gradio_api/component_server": 100}


async def told(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def sent(path: str, content: bytes | Iterator[bytes], seconds: float = 30.0) -> httpx.Response:
    """The answer of a small app behind the bounds."""

    async def ask() -> httpx.Response:
        app = Starlette(routes=[Route(path, told, methods=["POST"]) for path in PATHS])
        bounded = BoundedBodies(app, LIMITS, seconds)
        given = content if isinstance(content, bytes) else _as_it_comes(content)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(bounded), base_url="http://page") as client:
            return await client.post(path, content=given)

    return complete(ask())


async def _as_it_comes(pieces: Iterator[bytes]):  # type: ignore[no-untyped-def]
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


@pytest.mark.parametrize(("path", "most"), PATHS.items())
def test_a_body_up_to_the_limit_arrives_whole(path: str, most: int) -> None:
    assert sent(path, b"x" * most).text == sent(path, iter([b"x"] * most)).text == str(most)
    assert sent(path, b"").text == "0"


@pytest.mark.parametrize(("path", "most"), PATHS.items())
def test_a_byte_more_is_refused_whether_it_was_declared_or_not(path: str, most: int) -> None:
    declared, came = sent(path, b"x" * (most + 1)), sent(path, iter([b"x"] * (most + 1)))
    assert declared.status_code == came.status_code == 413
    assert f"larger than {most:,} bytes" in came.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_never_comes_is_not_waited_for(path: str) -> None:
    async def ask() -> list[int]:
        app = Starlette(routes=[Route(path, told, methods=["POST"])])
        began: list[int] = []

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                began.append(int(str(message["status"])))

        async def receive() -> dict[str, object]:
            await asyncio.Event().wait()
            raise AssertionError

        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
        await BoundedBodies(app, LIMITS, 0.01)(scope, receive, send)  # type: ignore[arg-type]
        return began

    assert complete(asyncio.wait_for(ask(), 30)) == [408]


def test_the_page_refuses_sixty_megabytes_at_once(page: Served) -> None:
    started = time.monotonic()
    content = b'{"data": ["' + b"x" * 60_000_000 + b'"]}'
    pieces = [content[at : at + 65536] for at in range(0, len(content), 65536)]
    for given in (content, iter(pieces)):
        try:
            answer = httpx.post(f"{page.url}gradio_api/call/compare", content=given, timeout=30)
        except httpx.WriteError:  # the page hung up without hearing it out
            continue
        assert answer.status_code == 413
    assert time.monotonic() - started < 20
    asked = {"document": "A lamp.", "question": QUESTION, "max_new_tokens": 1}
    assert httpx.post(f"{page.url}gradio_api/call/v2/compare", json=asked).status_code == 200
