"""The gate: layers that every request passes on its way to Gradio's app, outside of everything that it does itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

Layer = Callable[[ASGIApp], ASGIApp]


def gate(
    layers: Sequence[Layer], chores: Sequence[Callable[[], Coroutine[None, None, None]]] = ()
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """A lifespan that puts `layers` around an app's own middleware, the first of them outermost, and does `chores`.

    Middleware that an app is given comes to stand within Gradio's, where its headers and errors can still be changed;
    an app's start is the one moment at which its finished stack can be taken hold of.
    """

    @asynccontextmanager
    async def around(app: Starlette) -> AsyncIterator[None]:
        stack = app.middleware_stack
        assert stack is not None  # it was built to bring us this start
        for layer in reversed(layers):
            stack = layer(stack)
        app.middleware_stack = stack
        async with asyncio.TaskGroup() as tasks:
            under_way = [tasks.create_task(chore()) for chore in chores]
            yield
            for task in under_way:
                task.cancel()

    return around


def refusal(status: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    """What a caller gets who is not let in: one sentence, under the names that Gradio's clients look for."""
    return JSONResponse({"detail": words, "error": words}, status_code=status, headers=headers)
