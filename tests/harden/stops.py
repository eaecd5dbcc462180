"""Stops at random moments of a run: the device is free soon after, and the next visitor is served.

Run as `python -m tests.harden.stops --times 200`. Two ways of a browser (joins the queue for the Run button's event,
listens to its stream, and presses Stop or hangs up) and two of a program (cancels its call, or leaves its stream).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx
from gradio_client import Client

from tests.harden.server import Server, running
from tests.harden.soak import own
from tests.harden.verdict import summarise

FREE_WITHIN_S = 10.0


class Browser:
    """One session of the page."""

    def __init__(self, server: Server, config: dict[str, Any]) -> None:
        self.server, self.config, self.session = server, config, secrets.token_hex(6)
        self.values = {part["id"]: part["props"].get("value") for part in config["components"]}
        document, question = own(8)
        for name, value in (("source", "Paste"), ("paste", document), ("question", question)):
            self.values[next(p["id"] for p in config["components"] if p["props"].get("elem_id") == name)] = value

    def event(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(event for event in self.config["dependencies"] if event["api_name"] == name)
        return found

    def press(self, name: str) -> None:
        """Join the queue for the event `name` with the page's values as they came."""
        event = self.event(name)
        body = {
            "data": [self.values[part] for part in event["inputs"]],
            "fn_index": event["id"],
            "session_hash": self.session,
            "trigger_id": None,
        }
        httpx.post(f"{self.server.url}gradio_api/queue/join", json=body, timeout=30).raise_for_status()

    def listen(self, seconds: float) -> Iterator[str]:
        """Kinds of the stream's messages, for at most about `seconds`; leaving it hangs up."""
        until = time.monotonic() + seconds
        address = f"{self.server.url}gradio_api/queue/data?session_hash={self.session}"
        timeout = httpx.Timeout(30, read=max(0.05, seconds))
        with contextlib.suppress(httpx.ReadTimeout), httpx.stream("GET", address, timeout=timeout) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])["msg"]
                if time.monotonic() > until:
                    return


class Program:
    """A call of /compare."""

    def __init__(self, server: Server, client: Client) -> None:
        self.server, self.client = server, client
        self.asked = dict(zip(("document", "question"), own(8)), max_new_tokens=48)

    def cancel(self, seconds: float) -> bool:
        """Cancel after `seconds`; True if the call was over before."""
        job = self.client.submit(**self.asked, api_name="/compare")
        with contextlib.suppress(TimeoutError):
            job.result(seconds)
            return True
        job.cancel()
        return False

    def leave(self, seconds: float) -> bool:
        """Leave the stream after about `seconds`; True if the call was over before."""
        address = f"{self.server.url}gradio_api/call"
        started = httpx.post(f"{address}/v2/compare", json=self.asked, timeout=30).raise_for_status()
        event = started.json()["event_id"]
        until = time.monotonic() + seconds
        with httpx.stream("GET", f"{address}/compare/{event}", timeout=30) as stream:
            for line in stream.iter_lines():
                if line == "event: complete":
                    return True
                if time.monotonic() > until:
                    return False
        return True


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    random, faults = Random(given.seed), list[str]()
    free_after: list[float] = []
    ways = ("stop", "hang up", "cancel a call", "leave a call")
    ends = dict.fromkeys((*ways, "finished first"), 0)
    with running() as server:
        config = httpx.get(f"{server.url}config", timeout=60).json()
        client = Client(server.url, verbose=False)
        whole = time.monotonic()
        if not finishes(Browser(server, config)):
            faults.append("the first run did not finish")
        whole = time.monotonic() - whole
        for _ in range(given.times):
            how = random.choice(ways)
            if interrupted(how, server, config, client, random.uniform(0, whole)):
                how = "finished first"
            ends[how] += 1
            try:
                free_after.append(server.wait_idle(FREE_WITHIN_S))
            except RuntimeError as error:
                faults.append(f"after {how}: {error}")
                server.wait_idle(120)
        if not finishes(Browser(server, config)):
            faults.append("the last run did not finish")
    worst = round(max(free_after), 2) if free_after else None
    return summarise("stops", {"whole_run_s": round(whole, 2), **ends, "longest_until_free_s": worst}, faults)


def interrupted(how: str, server: Server, config: dict[str, Any], client: Client, seconds: float) -> bool:
    """Start a run and end it in one of the four ways after `seconds`; True if it was over before."""
    if how == "cancel a call":
        return Program(server, client).cancel(seconds)
    if how == "leave a call":
        return Program(server, client).leave(seconds)
    browser = Browser(server, config)
    browser.press("run")
    if "process_completed" in browser.listen(seconds):
        return True
    if how == "stop":
        browser.press("stop")
    return False


def finishes(browser: Browser) -> bool:
    """Whether a run that is left alone comes to its end."""
    browser.press("run")
    return "process_completed" in browser.listen(120)


if __name__ == "__main__":
    sys.exit(main())
