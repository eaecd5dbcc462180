"""`python app.py` as a person starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.page.serving import free_port, write_model

ROOT = Path(__file__).resolve().parents[2]


def test_the_server_says_where_it_is_and_nothing_else(tmp_path: Path) -> None:
    program = [sys.executable, "app.py", "--model", str(write_model(tmp_path)), "--port", str(port := free_port())]
    server = subprocess.Popen(
        program, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stdout.readline() == f"SlimInfer Studio: http://127.0.0.1:{port}\n"
    server.terminate()
    _, errors = server.communicate(timeout=60)
    assert "Loading weights" not in errors
    assert server.returncode == 0
