"""Where a number comes from: the command, the code and the machine, as every result file states them."""

from __future__ import annotations

import datetime
import os
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
_THIS_FILE = "sliminfer/evaluate/provenance.py"


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


def commit(root: Path = _ROOT) -> str | None:
    """The commit of the checkout at `root`, with `+changes` where files differ from it; None outside a checkout.

    A repository that the project only lies in, such as somebody's whose virtual environment it is installed into,
    is no checkout of it: `root` must be the repository's own, and this file one of those that it tracks.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != root.resolve() or not _git(root, "ls-files", "--", _THIS_FILE):
        return None
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "sliminfer", "kernels")
    return head + ("+changes" if changed else "")


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    # In a hook of another repository git's variables name that one, whatever the folder.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment)  # nosec B603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
