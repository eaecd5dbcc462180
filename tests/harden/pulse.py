"""The pulse of a server's own event loop, on which /health is answered, taken inside of its process.

A client's clock counts against the server what was the machine's doing: that other programs had the processor. Here the
time for which a thread of the server was ready to run and did not get to is taken off (`/proc/.../schedstat`).
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import httpx

from tests.harden.server import Server

EVERY_S = 0.05
LONGEST_STALL_S = 1.0


class Pulse:
    """Keeps in `file` the longest time for which the loop did nothing that it was asked to."""

    def __init__(self, file: Path) -> None:
        self._file, self._late, self._stall = file, 0.0, 0.0

    async def beat(self) -> None:
        """For as long as the server is up."""
        while True:
            started, starved = time.monotonic(), kept_waiting()
            await asyncio.sleep(EVERY_S)
            late = time.monotonic() - started - EVERY_S
            if late <= self._stall:
                continue
            now = kept_waiting()
            others = max((now[thread] - starved.get(thread, 0.0) for thread in now), default=0.0)
            self._late, self._stall = max(self._late, late), max(self._stall, late - others)
            self._file.write_text(json.dumps({"late_s": self._late, "stall_s": self._stall}))


def kept_waiting() -> dict[str, float]:
    """Seconds for which each thread of this process was ready to run while others ran; empty where nobody tells."""
    waited = {}
    for thread in Path("/proc/self/task").glob("*"):
        try:
            waited[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # it has ended
            continue
    return waited


def starved_s(process: int) -> float:
    """Seconds for which the main thread of `process` was ready to run while others ran; 0 where nobody tells."""
    try:
        return int(Path(f"/proc/{process}/task/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class Watch(threading.Thread):
    """Asks for /health ten times a second, and keeps the longest wait and any answer but the right one."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server, self.longest, self.wrong, self.over = server, 0.0, list[str](), threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=120) as client:
            while not self.over.wait(0.1):
                started = time.monotonic()
                try:
                    status = str(client.get(f"{self.server.url}health").status_code)
                except httpx.HTTPError as error:
                    status = type(error).__name__
                self.longest = max(self.longest, time.monotonic() - started)
                if status != "200":
                    self.wrong.append(status)

    def ended(self) -> tuple[dict[str, float], list[str]]:
        """Stop; the figures of both clocks, and what is wrong with them."""
        self.over.set()
        self.join()
        file = self.server.folder / "pulse.json"
        own: dict[str, float] = json.loads(file.read_text()) if file.exists() else {"stall_s": float("nan")}
        faults = [f"/health answered {status}" for status in self.wrong]
        if not own["stall_s"] <= LONGEST_STALL_S:
            faults.append(f"the server's loop stood still for {own['stall_s']:.2f} s")
        figures = {"longest_health_s": round(self.longest, 2), "longest_stall_s": round(own["stall_s"], 2)}
        return figures, faults
