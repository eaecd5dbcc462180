"""Many visitors at once: everyone gets their own answer, nobody starves, memory stays flat.

Run as `python -m tests.harden.soak --clients 50 --minutes 10`. Each client has a document of its own, whose right
answer is computed beforehand by an engine in this process; a refusal because the queue is full is waited out.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from random import Random
from typing import Any

from gradio_client import Client
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.model.loading import load_model
from sliminfer.schedule.config import SlimConfig
from tests.harden.server import Server, running
from tests.harden.verdict import summarise

PRUNE = ((4, 0.5), (8, 0.25))
MOST_GROWTH = 0.05
NEW_TOKENS = 4


class Visitor(threading.Thread):
    """One client that asks the same question over and over."""

    def __init__(self, server: Server, number: int, expected: dict[str, str], until: float) -> None:
        super().__init__(name=f"visitor-{number}", daemon=True)
        self.server, self.number, self.expected, self.until = server, number, expected, until
        self.answered, self.refused, self.waits, self.faults = 0, 0, list[float](), list[str]()

    def run(self) -> None:
        random, client = Random(self.number), Client(self.server.url, verbose=False, httpx_kwargs={"timeout": 120})
        document, question = own(self.number)
        while time.monotonic() < self.until:
            started = time.monotonic()
            try:
                result = client.predict(
                    document, question, prune_text(), max_new_tokens=NEW_TOKENS, api_name="/compare"
                )
            except (AppError, QueueError) as error:
                if "full" not in str(error).lower():
                    self.faults.append(f"visitor {self.number}: {error}")
                self.refused += 1
                time.sleep(random.uniform(0.2, 1.0))
                continue
            except Exception as error:  # a broken connection is a fault too
                self.faults.append(f"visitor {self.number}: {type(error).__name__}: {error}")
                return
            self.waits.append(time.monotonic() - started)
            self.answered += 1
            got = {side: result[side]["text"] for side in ("full", "pruned")}
            if got != self.expected:
                self.faults.append(f"visitor {self.number} got {got}, not {self.expected}")


def own(number: int) -> tuple[str, str]:
    """The document and question of visitor `number`."""
    line = f"Visitor {number} keeps the code {number * 7919 % 100_000:05d} and writes it down. "
    return line * (8 + number % 9), f"What is the code of visitor {number}?"


def prune_text() -> str:
    return ",".join(f"{layer}:{100 * keep:g}%" for layer, keep in PRUNE)


def right_answers(model: str, clients: int) -> list[dict[str, str]]:
    """What the engine answers each visitor when nobody else is there."""
    from sliminfer.schedule.config import PruneStep

    engine = SlimEngine(load_model(model, device="cpu", dtype="float32"))
    config = SlimConfig(steps=tuple(PruneStep(layer, keep) for layer, keep in PRUNE))
    answers = []
    for number in range(clients):
        result = RunResult.of(engine.compare(RunRequest(*own(number), config, max_new_tokens=NEW_TOKENS)))
        answers.append({side: event.text for side, event in result.finished.items()})
    return answers


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--clients", type=int, default=12)
    options.add_argument("--minutes", type=float, default=0.5)
    given = options.parse_args()
    with running() as server:
        expected = right_answers(str(server.model), given.clients)
        until = time.monotonic() + 60 * given.minutes
        visitors = [Visitor(server, number, expected[number], until) for number in range(given.clients)]
        for visitor in visitors:
            visitor.start()
        memory = [0]
        settled = time.monotonic() + 60 * given.minutes / 3
        while any(visitor.is_alive() for visitor in visitors):
            time.sleep(0.5)
            if time.monotonic() > settled:
                memory.append(server.rss())
        server.wait_idle()
        return judge(visitors, memory[1:], len({str(answer) for answer in expected}))


def judge(visitors: list[Visitor], memory: list[int], distinct: int) -> int:
    answered = [visitor.answered for visitor in visitors]
    waits = sorted(wait for visitor in visitors for wait in visitor.waits)
    faults = [fault for visitor in visitors for fault in visitor.faults]
    growth = memory[-1] / memory[0] - 1 if memory else 0.0
    if min(answered) == 0:
        faults.append(f"{answered.count(0)} visitors never got an answer")
    if growth > MOST_GROWTH:
        faults.append(f"memory grew by {growth:.1%}")
    figures: dict[str, Any] = {
        "clients": len(visitors),
        "distinct_answers": distinct,
        "answered": sum(answered),
        "refused_queue_full": sum(visitor.refused for visitor in visitors),
        "fewest_and_most_per_client": [min(answered), max(answered)],
        "median_wait_s": round(waits[len(waits) // 2], 2) if waits else None,
        "longest_wait_s": round(waits[-1], 2) if waits else None,
        "rss_growth": round(growth, 4),
    }
    return summarise("soak", figures, faults)


if __name__ == "__main__":
    sys.exit(main())
