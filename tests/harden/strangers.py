"""A public page with hostile clients among polite ones: every polite one gets its own answers, about as soon as before.

Run as `python -m tests.harden.strangers --clients 30 --hostile 5 --minutes 10`. The polite ones ask alone for the first
third of the time, and with the hostile ones for the rest. Each hostile client does one thing, as hard as it can: posts
without opening a stream, runs as long as they may be, documents that are slow to read, bodies that are too large or
never come, and malformed calls with ever new sessions.
"""

from __future__ import annotations

import argparse
import itertools
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

import httpx

from tests.documents.test_safely import SLOW_PDF
from tests.harden.public import PublicServer, public_server
from tests.harden.pulse import Watch
from tests.harden.soak import MOST_GROWTH, NEW_TOKENS, own, prune_text, right_answers
from tests.harden.verdict import summarise
from tests.hosting.public_page import Stranger

MOST_SLOWER = 2.0
MOST_PAUSE_S = 2.0
STARVED = 5.0  # times the mean wait without any answer


class Polite(threading.Thread):
    """Asks its own question over and over, with a pause in between, and comes again where the queue is full."""

    def __init__(self, server: PublicServer, number: int, expected: dict[str, str], until: float) -> None:
        super().__init__(daemon=True)
        self.stranger, self.number, self.expected, self.until = Stranger(server, number), number, expected, until
        self.waits, self.full, self.faults = list[tuple[float, float]](), 0, list[str]()

    def run(self) -> None:
        random = Random(self.number)
        document, question = own(self.number)
        asked = {"document": document, "question": question, "prune": prune_text(), "max_new_tokens": NEW_TOKENS}
        while time.monotonic() < self.until:
            started = time.monotonic()
            try:
                while (posted := self.stranger.post(**asked)).status_code == 503:
                    self.full += 1
                    time.sleep(random.uniform(0.2, 1.0))
                event, data = self.stranger.answer(posted)
            except Exception as error:  # a broken connection is a fault too
                self.faults.append(f"client {self.number}: {type(error).__name__}: {error}")
                continue
            self.waits.append((started, time.monotonic() - started))
            got = {side: data[0][side]["text"] for side in ("full", "pruned")} if event == "complete" else data
            if got != self.expected:
                self.faults.append(f"client {self.number} got {str(got)[:200]}, not {self.expected}")
            time.sleep(random.uniform(0, MOST_PAUSE_S))


class Hostile(threading.Thread):
    """Does one thing without a pause, until it is over."""

    def __init__(self, server: PublicServer, number: int, until: float) -> None:
        super().__init__(daemon=True)
        self.server, self.stranger, self.until, self.times = server, Stranger(server, 200 + number), until, 0
        ways: list[Callable[[], None]] = [
            self.unheard, self.long_runs, self.slow_documents, self.large_bodies, self.malformed
        ]  # fmt: skip
        self.way = ways[number % len(ways)]

    def run(self) -> None:
        while time.monotonic() < self.until:
            try:
                self.way()
            except (httpx.HTTPError, OSError, KeyError, ValueError):  # it is being refused
                time.sleep(0.05)
            self.times += 1

    def unheard(self) -> None:
        self.stranger.post(30, max_new_tokens=16)

    def long_runs(self) -> None:
        self.stranger.answer(self.stranger.post(40, max_new_tokens=16))

    def slow_documents(self) -> None:
        url = self.server.url
        [path] = self.stranger.http.post(f"{url}gradio_api/upload", files={"files": ("a.pdf", SLOW_PDF)}).json()
        asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        self.stranger.answer(self.stranger.http.post(f"{url}gradio_api/call/read_document", json=asked))

    def large_bodies(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as line:
            length = 60_000_000 if self.times % 2 else 100_000
            line.sendall(
                f"POST /gradio_api/call/compare HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n"
                f"x-forwarded-for: 198.51.100.203\r\ncontent-type: application/json\r\n\r\n".encode()
            )
            for _ in itertools.repeat(b"x", 3):
                line.sendall(b"x" * 30_000)
                time.sleep(0.2)

    def malformed(self) -> None:
        body = {"data": [secrets.token_hex(8)] * 5, "fn_index": self.times % 60, "session_hash": secrets.token_hex(8)}
        for path in ("queue/join", "run/predict", "component_server", "call/diffusion"):
            self.stranger.http.post(f"{self.server.url}gradio_api/{path}", json=body)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--clients", type=int, default=30, help="hostile ones included")
    options.add_argument("--hostile", type=int, default=5)
    options.add_argument("--minutes", type=float, default=1.0)
    given = options.parse_args()
    polite = given.clients - given.hostile
    with public_server() as server:
        expected = right_answers(str(server.model), polite)
        began = time.monotonic()
        until, joined = began + 60 * given.minutes, began + 20 * given.minutes
        watch = Watch(server)
        clients = [Polite(server, number, expected[number], until) for number in range(polite)]
        for thread in (watch, *clients):
            thread.start()
        time.sleep(joined - time.monotonic())
        memory = [server.rss()]
        hostile = [Hostile(server, number, until) for number in range(given.hostile)]
        for foe in hostile:
            foe.start()
        while any(client.is_alive() for client in clients):
            time.sleep(1)
            memory.append(server.rss())
        return judge(clients, hostile, (began, joined, until), memory, watch)


def judge(
    clients: list[Polite], hostile: list[Hostile], moments: tuple[float, float, float], memory: list[int], watch: Watch
) -> int:
    """The verdict; `moments` are the beginning, when the hostile ones came, and the end."""
    health, stalls = watch.ended()
    faults = [*(fault for client in clients for fault in client.faults), *stalls]
    began, joined, until = moments
    before, beside = mean_wait(clients, began, joined), mean_wait(clients, joined, until)
    served = [sum(joined < at + wait < until for at, wait in client.waits) for client in clients]
    waits = [sorted(wait for client in clients for at, wait in client.waits if (at > joined) is after)
             for after in (False, True)]  # fmt: skip
    settled = memory[len(memory) // 3 :]
    growth = settled[-1] / settled[0] - 1
    if min(served) == 0 and until - joined > STARVED * beside:
        faults.append(f"{served.count(0)} polite clients got no answer beside the hostile ones")
    if not beside <= MOST_SLOWER * before:
        faults.append(f"answers took {beside / before:.2f} times as long")
    if growth > MOST_GROWTH:
        faults.append(f"memory grew by {growth:.1%}")
    figures: dict[str, Any] = {
        "polite": len(clients),
        "hostile": len(hostile),
        "hostile_attempts": sum(foe.times for foe in hostile),
        "mean_wait_s": [round(before, 2), round(beside, 2)],
        "median_wait_s": [round(middle(some), 2) for some in waits],
        "longest_wait_s": [round(max(some, default=0.0), 2) for some in waits],
        "fewest_answers_of_a_client": min(served),
        "tries_at_a_full_queue": sum(client.full for client in clients),
        **health,
        "rss_growth": round(growth, 4),
    }
    return summarise("strangers", figures, faults)


def mean_wait(clients: list[Polite], since: float, until: float) -> float:
    """Seconds that a client waits for an answer, by how many came within that time: each asks, waits and pauses."""
    came = sum(since < at + wait < until for client in clients for at, wait in client.waits)
    return len(clients) * (until - since) / came - MOST_PAUSE_S / 2 if came else float("inf")


def middle(values: list[float]) -> float:
    """The median."""
    return values[len(values) // 2] if values else 0.0


if __name__ == "__main__":
    sys.exit(main())
