"""Stop, and closed pages, at random moments of a run: the engine is free soon after, and the next visitor is served.

Run as `python -m tests.harden.stops --times 200`. Speaks to the page as a browser does: joins the queue for the Run
button's event, listens to its stream, and presses Stop or hangs up after a random time.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx

from tests.harden.server import Server, running, summarise
from tests.harden.soak import own

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
        with httpx.stream("GET", address, timeout=httpx.Timeout(30, read=max(0.05, seconds))) as stream:
            try:
                for line in stream.iter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line[5:])["msg"]
                    if time.monotonic() > until:
                        return
            except httpx.ReadTimeout:
                return


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    random, faults = Random(given.seed), list[str]()
    free_after: list[float] = []
    ends = {"stop": 0, "hang up": 0, "finished first": 0}
    with running() as server:
        config = httpx.get(f"{server.url}config", timeout=60).json()
        whole = time.monotonic()
        if not finishes(Browser(server, config)):
            faults.append("the first run did not finish")
        whole = time.monotonic() - whole
        for _ in range(given.times):
            browser, how = Browser(server, config), random.choice(("stop", "hang up"))
            browser.press("run")
            if "process_completed" in browser.listen(random.uniform(0, whole)):
                how = "finished first"
            elif how == "stop":
                browser.press("stop")
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


def finishes(browser: Browser) -> bool:
    """Whether a run that is left alone comes to its end."""
    browser.press("run")
    return "process_completed" in browser.listen(120)


if __name__ == "__main__":
    sys.exit(main())
