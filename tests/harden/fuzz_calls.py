"""Thousands of hostile calls of every endpoint: no 500, no stall, no growth, and not a word of them in the output.

Run as `python -m tests.harden.fuzz_calls --count 10000`.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import sys
import time
from pathlib import Path

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.harden.calls import MARKER, Call, calls
from tests.harden.public import PublicServer, public_server
from tests.harden.pulse import Watch
from tests.harden.verdict import summarise

ENDS_WITHIN_S = 60.0
MOST_GROWTH = 0.05
CLIENTS = 40


class Caller:
    """Sends calls, follows the streams that they begin, and judges what comes back."""

    def __init__(self, server: PublicServer, first: int) -> None:
        self.server, self.random = server, random.Random(first)
        self.http = httpx.Client(timeout=httpx.Timeout(ENDS_WITHIN_S, read=ENDS_WITHIN_S), base_url=server.url)
        self.statuses: collections.Counter[int] = collections.Counter()
        self.faults: list[str] = []

    def send(self, call: Call) -> None:
        headers = call.headers | {"x-forwarded-for": f"198.51.100.{self.random.randrange(CLIENTS)}"}
        try:
            with self.http.stream(call.method, call.path, content=call.content, headers=headers) as answer:
                body = self._read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.faults.append(f"{describe(call)}: {type(error).__name__}")
            return
        self.statuses[answer.status_code] += 1
        self._judge(call, answer.status_code, body)
        if answer.status_code == 200 and call.method == "POST" and b'"event_id"' in body[:200]:
            self._follow(call, body, headers)

    def _follow(self, call: Call, body: bytes, headers: dict[str, str]) -> None:
        event = json.loads(body)["event_id"]
        address = f"/gradio_api/call/x/{event}"
        with self.http.stream("GET", address, headers={"x-forwarded-for": headers["x-forwarded-for"]}) as stream:
            self._judge(call, stream.status_code, self._read(stream))

    def _read(self, answer: httpx.Response) -> bytes:
        """The body; of a stream that lives as long as its listener, what comes first."""
        pieces, started = [], time.monotonic()
        lasting = "text/event-stream" in answer.headers.get("content-type", "") and "/call/" not in str(answer.url)
        for piece in answer.iter_raw() if lasting else answer.iter_bytes():
            pieces.append(piece)
            if lasting:
                break
            if time.monotonic() - started > ENDS_WITHIN_S:
                self.faults.append(f"{answer.url}: a stream that does not end")
                break
        return b"".join(pieces)

    def _judge(self, call: Call, status: int, body: bytes) -> None:
        full = status == 503 and b"full" in body
        if status >= 500 and not full:
            self.faults.append(f"{describe(call)}: {status} {body[:200]!r}")
        for word in (b"Traceback", b"site-packages", b"/tests/"):
            if word in body and call.method == "POST":
                self.faults.append(f"{describe(call)}: {word.decode()} in the answer")


def describe(call: Call) -> str:
    return f"{call.method} {call.path[:120]} {call.content[:300]!r}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--log", type=Path, help="where to keep what the page wrote")
    given_ = options.parse_args()
    with public_server() as server:
        config = httpx.get(f"{server.url}config", timeout=60).json()
        info = httpx.get(f"{server.url}gradio_api/info", timeout=60).json()
        caller, watch = Caller(server, given_.seed), Watch(server)
        watch.start()
        memory: list[int] = []
        started = time.monotonic()

        @seed(given_.seed)
        @settings(
            max_examples=given_.count, phases=[Phase.generate], database=None, deadline=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(calls(config, info))
        def run(call: Call) -> None:
            caller.send(call)
            if sum(caller.statuses.values()) % 100 == 0:
                memory.append(server.rss())

        run()
        server.wait_idle(120)
        if given_.log is not None:
            given_.log.write_text(server.said())
        return judge(server, caller, watch, memory, time.monotonic() - started)


def judge(server: PublicServer, caller: Caller, watch: Watch, memory: list[int], seconds: float) -> int:
    health, stalls = watch.ended()
    faults = [*caller.faults, *stalls]
    settled = memory[len(memory) // 3 :] or [1]
    growth = settled[-1] / settled[0] - 1
    if growth > MOST_GROWTH:
        faults.append(f"memory grew by {growth:.1%}")
    if MARKER in server.said():
        faults.append("a caller's text is in the page's output")
    figures = {
        "calls": sum(caller.statuses.values()),
        "statuses": dict(sorted(caller.statuses.items())),
        **health,
        "rss_growth": round(growth, 4),
        "rss_mb": round(settled[-1] / 1e6),
        "seconds": round(seconds),
    }
    return summarise("fuzz_calls", figures, faults)


if __name__ == "__main__":
    sys.exit(main())
