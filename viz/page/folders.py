"""Folders for what strangers bring: of this process alone, and gone with it."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp

from psutil import Process, pid_exists


def private_folder(kind: str) -> str:
    """A new folder of a `kind`, such as "sliminfer-page-", that no other user can look into; gone with this process.

    Those of the same kind that killed processes have left are removed.
    """
    for left in Path(gettempdir()).glob(f"{kind}*"):
        number = left.name.removeprefix(kind).partition("-")[0]
        if number.isdecimal() and _is_left(left, int(number)):
            rmtree(left, ignore_errors=True)
    folder = mkdtemp(prefix=f"{kind}{os.getpid()}-")
    atexit.register(rmtree, folder, ignore_errors=True)
    return folder


def _is_left(folder: Path, process: int) -> bool:
    """Whether the process of that number, which made `folder`, is over; in a container this one may have its number."""
    if process == os.getpid():
        return folder.stat().st_mtime < Process().create_time()
    return not pid_exists(process)
