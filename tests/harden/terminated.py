"""SIGTERM in the middle of everything: the page is gone soon after, with status 0, and leaves nothing.

Run as `python -m tests.harden.terminated --times 5`. Runs under way and waiting, documents being read, a body and an
upload that come a byte at a time, and streams that stay open, all at a random moment.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import psutil

from tests.documents.test_safely import SLOW_PDF
from tests.harden.public import PublicServer
from tests.harden.pulse import starved_s
from tests.harden.verdict import summarise
from tests.hosting.public_page import Stranger

GONE_WITHIN_S = 15.0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=1)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    random, faults, took = Random(given.seed), list[str](), list[float]()
    for _ in range(given.times):
        with tempfile.TemporaryDirectory(prefix="harden-", ignore_cleanup_errors=True) as folder:
            server = PublicServer(Path(folder))
            try:
                server.wait()
                busy(server)
                time.sleep(random.uniform(0, 3))
                children = server.children()
                seconds, code = ended(server)
                took.append(seconds)
            finally:
                server.stop()
            _, alive = psutil.wait_procs(children, timeout=1)
            faults += [f"process {child.pid} outlived the page" for child in alive]
            faults += [f"SIGTERM ended the page with status {code}"] if code else []
            left = [path.name for path in server.temporary.iterdir() if path.name.startswith("sliminfer")]
            faults += [f"{left} is left in the temporary folder"] if left else []
    if max(took, default=0.0) > GONE_WITHIN_S:
        faults.append(f"the page took {max(took):.1f} s to end")
    figures: dict[str, Any] = {"times": given.times, "longest_s": round(max(took, default=0.0), 1)}
    return summarise("terminated", figures, faults)


def ended(server: PublicServer) -> tuple[float, int]:
    """Seconds from SIGTERM to the end, without those for which other programs had the processor; and the status."""
    process = server.process
    started, before = time.monotonic(), starved_s(process.pid)
    starved = before
    process.send_signal(signal.SIGTERM)
    while process.poll() is None and time.monotonic() - started < 60:
        starved = max(starved, starved_s(process.pid))
        time.sleep(0.02)
    return time.monotonic() - started - (starved - before), server.stop()


def busy(server: PublicServer) -> None:
    """Give the page everything to do at once."""
    for number in range(4):
        stranger = Stranger(server, number)
        for _ in range(2):
            posted = stranger.post(30, max_new_tokens=16)
            background(lambda s=stranger, p=posted: s.answer(p))
    for number in range(4, 7):
        reader = Stranger(server, number)
        [path] = reader.http.post(f"{server.url}gradio_api/upload", files={"files": ("a.pdf", SLOW_PDF)}).json()
        asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        posted = reader.http.post(f"{reader.url}/read_document", json=asked)
        background(lambda s=reader, p=posted: s.answer(p))
    for path, kind in (("call/compare", "application/json"), ("upload", "multipart/form-data; boundary=x")):
        background(lambda path=path, kind=kind: drip(server.port, f"/gradio_api/{path}", kind))
    listener = Stranger(server, 8)
    background(lambda: [listener.http.get(f"{server.url}gradio_api/heartbeat/a") for _ in range(1)])


def drip(port: int, path: str, kind: str) -> None:
    """Send a body of ten thousand bytes, one a second."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: 10000\r\n\r\n"
        line.sendall(head.encode())
        while True:
            line.sendall(b"x")
            time.sleep(1)


def background(work: Any) -> None:
    """Do it beside the rest, whatever becomes of it."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            work()

    threading.Thread(target=quietly, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
