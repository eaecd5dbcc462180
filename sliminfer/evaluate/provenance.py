"""Where a number comes from: the command, the code and the machine, as every result file states them."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess  # nosec B404
import sys
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from sliminfer import __version__
from sliminfer.model.loading import LoadedModel

_ROOT = Path(__file__).resolve().parents[2]


def provenance(loaded: LoadedModel) -> dict[str, Any]:
    """Plain data: command line, version and commit of the code, libraries, model and hardware, and the time."""
    return {
        "command": command_line(),
        "version": __version__,
        "commit": commit(),
        "model": loaded.name,
        "device": loaded.device_name,
        "dtype": loaded.dtype_name,
        "attention": loaded.attention,
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "cpu_threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def hardware(loaded: LoadedModel) -> str:
    """What computes: the GPU's name, or the processor's with the threads in use."""
    if loaded.device.type != "cpu":
        return loaded.device_name
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def command_line() -> str:
    """The command that this process was started with, as one would type it."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    start = "python -m sliminfer" if program == "__main__.py" else program
    return shlex.join([*start.split(), *sys.argv[1:]])


def commit() -> str | None:
    """The checkout's commit, with `+changes` where files differ from it; None outside a checkout."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "sliminfer", "kernels")
    return head + ("+changes" if changed else "")


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(_ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)  # nosec B603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
