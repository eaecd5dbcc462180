"""A page in a process of its own, as a host would run it, with a tiny random model: what the harden scripts torment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from transformers.utils.logging import disable_progress_bar

from tests.page.serving import free_port, write_model

disable_progress_bar()  # a script says one line
ROOT = Path(__file__).resolve().parents[2]
START_S = 180.0


class Server:
    """`python app.py` on a free port.

    Attributes:
        folder: holds the model, the log, and what the server would leave in its temporary folder.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.model = folder / "model"
        if not self.model.exists():
            self.model.mkdir()
            write_model(self.model)
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.log = (folder / "server.log").open("ab")
        self.process = self._start()

    @property
    def program(self) -> list[str]:
        """What is run, from the checkout."""
        program = [sys.executable, "app.py", "--model", str(self.model), "--port", str(self.port)]
        return [*program, "--device", "cpu", "--dtype", "float32"]

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "TMPDIR": str(self.temporary), "GRADIO_ANALYTICS_ENABLED": "False"}
        return subprocess.Popen(
            self.program, cwd=ROOT, env=environment, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip

    def wait(self) -> None:
        """Until the page answers; raises RuntimeError where it does not within `START_S`."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.health()["status"] == "ok":
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the page did not come up:\n{tail}")

    def health(self) -> dict[str, Any]:
        """What /health says."""
        told: dict[str, Any] = httpx.get(f"{self.url}health", timeout=30).json()
        return told

    def wait_idle(self, seconds: float = 60.0) -> float:
        """Seconds until no run is under way or waiting; raises RuntimeError after `seconds`."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            told = self.health()
            if told["running"] == told["waiting"] == 0:
                return time.monotonic() - started
            time.sleep(0.02)
        raise RuntimeError(f"a run was still under way after {seconds:g} s: {self.health()}")

    def rss(self) -> int:
        """Resident bytes of the page's process."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def children(self) -> list[psutil.Process]:
        """Processes that the page has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9


@contextmanager
def running() -> Iterator[Server]:
    """A server that is up, and down again afterwards, also where the script is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="harden-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        try:
            server.wait()
            yield server
        finally:
            server.stop()
