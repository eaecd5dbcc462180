"""A visit to the page without a browser: the values of its components, and its events over plain HTTP."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx


class Visit:
    """One session of the page at `url`.

    Attributes:
        values: of every component, as the page came; `choose` changes them.
        http: the connection, with whatever headers the visit has.
    """

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url, self.session = url, secrets.token_hex(8)
        self.http = httpx.Client(timeout=120, headers=headers)
        self.config: dict[str, Any] = self.http.get(f"{url}config").json()
        self.values = {part["id"]: part["props"].get("value") for part in self.config["components"]}

    def part(self, name: str) -> int:
        """The component with that id of the page, or that label."""
        for key in ("elem_id", "label"):
            for part in self.config["components"]:
                if part["props"].get(key) == name:
                    return int(part["id"])
        raise KeyError(name)

    def choose(self, **values: Any) -> None:
        """Set components by their ids, with _ for -."""
        for name, value in values.items():
            self.values[self.part(name.replace("_", "-"))] = value

    def event(self, name: str, trigger: str = "click") -> dict[str, Any]:
        """The event that the component `name` triggers, else the one whose callback has that name."""
        triggered = [self.part(name), trigger] if self._has(name) else None
        for event in self.config["dependencies"]:
            if triggered in [list(target) for target in event["targets"]]:
                return dict(event)
        return self.called(name)

    def called(self, callback: str) -> dict[str, Any]:
        """The first event whose callback has that name."""
        return dict(next(event for event in self.config["dependencies"] if event["api_name"] == callback))

    def run_event(self) -> dict[str, Any]:
        """What a press of Run comes to, once the request was found to be in order."""
        return dict(
            next(
                event for event in self.config["dependencies"]
                if event["api_name"].startswith("run") and [None, "success"] in [list(t) for t in event["targets"]]
            )
        )  # fmt: skip

    def body(self, event: dict[str, Any]) -> dict[str, Any]:
        """What a browser would send for `event` now."""
        data = [self.values[part] for part in event["inputs"]]
        return {"data": data, "fn_index": event["id"], "session_hash": self.session, "trigger_id": None}

    def join(self, event: dict[str, Any]) -> httpx.Response:
        """Join the queue for `event`."""
        return self.http.post(f"{self.url}gradio_api/queue/join", json=self.body(event))

    def stream(self) -> Iterator[dict[str, Any]]:
        """The messages of the session's stream until it ends."""
        address = f"{self.url}gradio_api/queue/data?session_hash={self.session}"
        with self.http.stream("GET", address) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def _has(self, name: str) -> bool:
        named = [(part["props"].get("elem_id"), part["props"].get("label")) for part in self.config["components"]]
        return any(name in names for names in named)
