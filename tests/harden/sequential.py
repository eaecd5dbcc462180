"""One run after another over HTTP: the same answers to the end, and no growth of the page's memory.

Run as `python -m tests.harden.sequential --runs 1000`.
"""

from __future__ import annotations

import argparse
import sys

from gradio_client import Client

from tests.harden.server import running
from tests.harden.soak import NEW_TOKENS, own, prune_text
from tests.harden.verdict import summarise

MOST_GROWTH = 0.01
SETTLING = 5  # the first 1/5 of the runs fill the allocator's pools


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=100)
    given = options.parse_args()
    faults: list[str] = []
    with running() as server:
        client = Client(server.url, verbose=False)
        texts, memory = set(), []
        for _ in range(given.runs):
            result = client.predict(*own(1), prune_text(), max_new_tokens=NEW_TOKENS, api_name="/compare")
            texts.add((result["full"]["text"], result["pruned"]["text"]))
            memory.append(server.rss())
        left = [str(path) for path in server.temporary.rglob("*") if path.is_file()]
    settled = memory[len(memory) // SETTLING]
    growth = max(memory[-max(1, len(memory) // SETTLING) :]) / settled - 1
    if len(texts) != 1:
        faults.append(f"{len(texts)} different answers to one question")
    if growth > MOST_GROWTH:
        faults.append(f"memory grew by {growth:.2%} from {settled / 1e6:.1f} MB")
    if left:
        faults.append(f"{len(left)} files left behind, such as {left[0]}")
    figures = {"runs": given.runs, "rss_mb": round(settled / 1e6, 1), "rss_growth": round(growth, 5)}
    return summarise("sequential", figures, faults)


if __name__ == "__main__":
    sys.exit(main())
