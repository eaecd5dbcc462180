"""Calls of the page's events and endpoints, checked for their form before Gradio takes them apart."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viz.door.client import client_of
from viz.door.gate import refusal
from viz.door.routes import API
from viz.door.strict_json import BadJSONError, parse
from viz.door.visits import Visits

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a session or an event, as clients make them up
_CALL = re.compile(rf"{API}/(call/v2|call|run|queue/join|component_server|cancel|reset)(?:/([^/]*))?/?")
_OPTIONAL = {"simple_format": (bool, type(None)), "oauth_token": (str, type(None)), "batched": (type(None),)}
SEE = "see /gradio_api/info"


@dataclass(frozen=True)
class Endpoint:
    """A documented endpoint.

    inputs: how many values it takes in order.
    names, required: of its arguments.
    """

    inputs: int
    names: frozenset[str]
    required: frozenset[str]


@dataclass(frozen=True)
class Served:
    """What can be called.

    events: number of input values of each event of the page, by its number; what runs in the browser is none.
    endpoints: the documented ones by name.
    functions: names of the functions that a component's script may call, by the component's number.
    """

    events: Mapping[int, int]
    endpoints: Mapping[str, Endpoint]
    functions: Mapping[int, frozenset[str]]


class CheckedCalls:
    """Refuses with 400 what is no strict JSON, with 422 what is no call of something that is `served`, and with 429
    a client who begins too many `visits`."""

    def __init__(self, app: ASGIApp, served: Served, visits: Visits | None) -> None:
        self._app, self._served, self._visits = app, served, visits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _CALL.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        if Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            words = "The body must be JSON, and say so: set the header content-type to application/json."
            await refusal(415, words)(scope, receive, send)
            return
        message = await receive()
        try:
            body = parse(message.get("body", b""))
        except BadJSONError as error:
            await refusal(400, str(error))(scope, receive, send)
            return
        fault = self.fault(asked[1], asked[2] or "", body)
        if fault:
            await refusal(422, f"{fault}: {SEE}.")(scope, receive, send)
            return
        session = body.get("session_hash")
        if session is not None and self._visits is not None and not self._visits.may(client_of(scope), session):
            words = "Too many visits from your address within the hour: come back later."
            await refusal(429, words, {"retry-after": "600"})(scope, receive, send)
            return
        again: list[Message] = [{**message, "body": json.dumps(body, ensure_ascii=False).encode()}]

        async def next_message() -> Message:
            return again.pop() if again else await receive()

        await self._app(_of_length(scope, len(again[0]["body"])), next_message, send)

    def fault(self, kind: str, name: str, body: Any) -> str:
        """What is wrong with a call, without a word of it; empty for nothing."""
        if not isinstance(body, dict):
            return "The body is no JSON object"
        for field in ("session_hash", "event_id"):
            named = body.get(field)
            if named is not None and not (isinstance(named, str) and _NAME.fullmatch(named)):
                return f"{field} is no name of up to 64 letters and digits"
        if kind == "component_server":
            return self._of_component(body)
        if kind in ("cancel", "reset"):
            return self._of_cancel(kind, body)
        if kind in ("call", "call/v2"):
            return self._of_endpoint(kind, name, body)
        return self._of_event(kind, body)

    def _of_endpoint(self, kind: str, name: str, body: dict[str, Any]) -> str:
        endpoint = self._served.endpoints.get(name)
        if endpoint is None:
            return "There is no such endpoint"
        if kind == "call":
            values = body.get("data")
            fits = isinstance(values, list) and len(values) == endpoint.inputs
            return "" if fits else f"data is no list of the endpoint's {endpoint.inputs} arguments"
        given = set(body)
        if given - endpoint.names:
            return "An argument is not one that the endpoint takes"
        missing = sorted(endpoint.required - given)
        return f"The argument {missing[0]} is missing" if missing else ""

    def _of_event(self, kind: str, body: dict[str, Any]) -> str:
        number: Any = body.get("fn_index")
        if not _whole(number) or number not in self._served.events:
            return "fn_index is no event of the page"
        values = body.get("data")
        if not isinstance(values, list) or len(values) != self._served.events[number]:
            return f"data is no list of the event's {self._served.events[number]} values"
        if body.get("trigger_id") is not None and not _whole(body["trigger_id"]):
            return "trigger_id is no whole number"
        if kind == "queue/join" and body.get("session_hash") is None:
            return "session_hash is missing"
        wrong = [field for field, kinds in _OPTIONAL.items() if field in body and not isinstance(body[field], kinds)]
        return f"{wrong[0]} is not of its type" if wrong and body[wrong[0]] is not False else ""

    def _of_component(self, body: dict[str, Any]) -> str:
        number: Any = body.get("component_id")
        if not _whole(number) or number not in self._served.functions:
            return "component_id is no component with functions"
        if not isinstance(body.get("fn_name"), str) or body["fn_name"] not in self._served.functions[number]:
            return "fn_name is no function of the component"
        if body.get("session_hash") is None:
            return "session_hash is missing"
        return "" if isinstance(body.get("data"), dict) else "data is no JSON object"

    def _of_cancel(self, kind: str, body: dict[str, Any]) -> str:
        needed = ("event_id",) if kind == "reset" else ("event_id", "session_hash")
        missing = [field for field in needed if body.get(field) is None]
        if missing:
            return f"{missing[0]} is missing"
        return "" if kind == "reset" or _whole(body.get("fn_index")) else "fn_index is no whole number"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _of_length(scope: Scope, length: int) -> Scope:
    """The request with the length that its body has now."""
    kept = [(name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")]
    return {**scope, "headers": [*kept, (b"content-length", str(length).encode())]}
