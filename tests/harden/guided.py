"""Reads files that atheris evolves towards code not reached before, from one of every format.

Run as `python -m tests.harden.guided --runs 20000`; needs the package atheris. Exit code 1 where a file crashed the
parser, hung over its limit, gave a control character, or put an element of its own into the page.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.documents.files import one_of_each
from tests.harden.verdict import summarise

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(one_of_each())
SECONDS = 20  # one file
MEMORY_MB = 4096
LONGEST = 200_000  # bytes of one file


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=20_000, help="files to read")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="harden-") as name:
        folder = Path(name)
        for number, (file, data) in enumerate(sorted(one_of_each().items())):
            (folder / file.replace("/", "_")).write_bytes(bytes([number]) + data)
        flags = [f"-atheris_runs={given.runs}", f"-seed={given.seed}", f"-timeout={SECONDS}", f"-max_len={LONGEST}"]
        flags += [f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/", str(folder)]
        command = [sys.executable, "-m", "tests.harden.guided_target", *flags]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    read = re.findall(r"^Done (\d+) in", done.stderr, re.MULTILINE)
    covered = re.findall(r"\bcov: (\d+)", done.stderr)
    figures: dict[str, Any] = {
        "files": int(read[-1]) if read else 0,
        "edges_at_first": int(covered[0]) if covered else None,
        "edges_at_last": int(covered[-1]) if covered else None,
    }
    lines = done.stderr.strip().splitlines()
    faults = [] if done.returncode == 0 else [f"exit code {done.returncode}: " + " | ".join(lines[-15:])]
    if figures["files"] < given.runs and not faults:
        faults.append(f"only {figures['files']} of {given.runs} files were read")
    return summarise("guided", figures, faults)


if __name__ == "__main__":
    sys.exit(main())
