"""kill -9 in mid-run, then a restart on the same port: up within 20 s, answers as before, and nothing is left over.

Run as `python -m tests.harden.killed --times 3`. Time for which other programs had the processor is not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import psutil
from gradio_client import Client

from tests.harden.pulse import starved_s
from tests.harden.server import Server
from tests.harden.soak import own, prune_text
from tests.harden.verdict import summarise

UP_WITHIN_S = 20.0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=1)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    random, faults, restarts = Random(given.seed), list[str](), list[float]()
    with tempfile.TemporaryDirectory(prefix="harden-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        server.wait()
        before = ask(server)
        for _ in range(given.times):
            Client(server.url, verbose=False).submit(*own(1), prune_text(), max_new_tokens=200, api_name="/compare")
            while not server.health()["running"]:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.5))
            children = server.children()
            server.kill()
            _, alive = psutil.wait_procs(children, timeout=10)
            faults += [f"process {child.pid} outlived the page" for child in alive]
            started = time.monotonic()
            server = Server(Path(folder), server.port)
            server.wait()
            restarts.append(time.monotonic() - started - starved_s(server.process.pid))
            if ask(server) != before:
                faults.append("the answer after the restart is another one")
        code = server.stop()
        if max(restarts) > UP_WITHIN_S:
            faults.append(f"a restart took {max(restarts):.1f} s")
        left = [path.name for path in server.temporary.iterdir() if path.name.startswith("sliminfer")]
        if left:
            faults.append(f"{left} is left in the temporary folder")
        if code != 0:
            faults.append(f"SIGTERM ended the page with status {code}")
    figures: dict[str, Any] = {"kills": given.times, "longest_restart_s": round(max(restarts, default=0.0), 1)}
    return summarise("killed", figures, faults)


def ask(server: Server) -> tuple[str, str]:
    """Both answers to one question."""
    result = Client(server.url, verbose=False).predict(*own(1), prune_text(), max_new_tokens=4, api_name="/compare")
    return result["full"]["text"], result["pruned"]["text"]


if __name__ == "__main__":
    sys.exit(main())
