"""Parsing in a process of its own, which a hostile file may slow down, fill up or crash without harm."""

import contextlib
import json
import logging
import os
import signal
import struct
import subprocess  # nosec B404
import sys
import threading
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from sliminfer.documents.document import DEFAULT_LIMITS, MIB, Document, DocumentLimits, check_size, display_name
from sliminfer.documents.sandbox import LAYERS
from sliminfer.errors import DocumentError

_log = logging.getLogger(__name__)

_WORKER = Path(__file__).with_name("worker.py")
_HEAD_BYTES = 1 * MIB
# Each worker may use `memory_bytes`; more at once gain nothing on the few cores of a Space.
_MOST_WORKERS = 4
_QUICK = 0.25  # share of the time within which a worker competes with runs
_slots = threading.BoundedSemaphore(_MOST_WORKERS)


def parse_document_safely(data: bytes, filename: str, limits: DocumentLimits = DEFAULT_LIMITS) -> Document:
    """`parse_document` in a fresh worker process with the time and memory limits of `limits`.

    The worker gets no environment variable (so no token), gives up everything but computing (`sandbox`) before it looks
    at the file, and ends after this one. Where the host offers a part of that only, the log says so once.
    Blocks for at most twice `limits.seconds` (waiting for a free worker, then parsing). Raises DocumentError,
    also where the worker runs out of time or memory or crashes.
    """
    name = display_name(filename)
    check_size(len(data), name, limits)
    if not _slots.acquire(timeout=limits.seconds):
        raise DocumentError(f"'{name}' was not read, as many uploads are waiting: try again in a minute.")
    try:
        return _in_worker(data, filename, limits)
    finally:
        _slots.release()


def load_document(path: str | os.PathLike[str], limits: DocumentLimits = DEFAULT_LIMITS) -> Document:
    """The text of a file on disk, read as carefully as an upload. Raises DocumentError."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(limits.max_bytes + 1)
    except OSError as error:
        reason = (error.strerror or "it cannot be opened").lower()
        raise DocumentError(f"'{file}' cannot be read ({reason}): check the path.") from error
    check_size(max(size, len(data)), display_name(file.name), limits)
    return parse_document_safely(data, file.name, limits)


def _in_worker(data: bytes, filename: str, limits: DocumentLimits) -> Document:
    name = display_name(filename)
    head = json.dumps({"paths": _import_paths(), "filename": filename, "limits": asdict(limits)}).encode()
    with _start_worker(name) as worker:
        started = time.monotonic()
        timers = (
            threading.Timer(_QUICK * limits.seconds, _last_in_line, (worker.pid,)),
            threading.Timer(limits.seconds, _kill_group, (worker.pid,)),
        )
        for timer in timers:
            timer.start()
        try:
            answer = _exchange(worker, struct.pack(">I", len(head)) + head, data, limits)
        finally:
            for timer in timers:
                timer.cancel()
            worker.kill()
    out_of_time = worker.returncode == -signal.SIGXCPU or time.monotonic() - started >= limits.seconds
    if answer is None and out_of_time:
        raise DocumentError(
            f"'{name}' took longer than {limits.seconds:g} s to read: split it, or upload its text as .txt."
        )
    if answer:
        _tell_once(_missing(answer))
    document = _understood(answer) if answer else None
    if document is None:
        raise DocumentError(f"'{name}' could not be read (the reader stopped): upload its text as .txt.")
    return document


def _start_worker(name: str) -> "subprocess.Popen[bytes]":
    try:
        # Isolated, without site or bytecode files: the parent's import path is handed over instead.
        return subprocess.Popen(  # nosec B603
            [sys.executable, "-I", "-S", "-B", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise DocumentError(f"'{name}' was not read, as no reader could start: try again in a minute.") from error


def _exchange(worker: "subprocess.Popen[bytes]", head: bytes, data: bytes, limits: DocumentLimits) -> bytes | None:
    """Send the request and read the whole answer, or None where the worker ended early or says too much."""
    if worker.stdin is None or worker.stdout is None:
        return None
    try:
        worker.stdin.write(head)
        worker.stdin.write(data)
        worker.stdin.close()
    except BrokenPipeError:
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
        return None
    most = 4 + _HEAD_BYTES + 4 * limits.max_characters
    answer = worker.stdout.read(most + 1)
    return answer if len(answer) <= most and worker.wait() == 0 else None


def _last_in_line(process: int) -> None:
    """Leave a slow worker what nobody else wants of the processor: a run waits for the slowest of its threads.

    The lowest priority is not enough: who has it keeps a core for some milliseconds once it has got one, and a run
    passes thousands of barriers.
    """
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))


def _kill_group(group: int) -> None:
    """End a worker and whatever it may have started: anything that holds its output keeps us waiting."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _understood(answer: bytes) -> Document | None:
    """The document in a worker's answer; None for an answer that is not in the agreed form."""
    try:
        (size,) = struct.unpack(">I", answer[:4])
        head = json.loads(answer[4 : 4 + size])
        text = answer[4 + size :].decode()
        if "error" in head:
            raise DocumentError(str(head["error"]))
        return Document(
            text=text,
            name=str(head["name"]),
            kind=str(head["kind"]),
            encoding=None if head["encoding"] is None else str(head["encoding"]),
            pages=None if head["pages"] is None else int(head["pages"]),
            characters=len(text),
            warnings=tuple(str(warning) for warning in head["warnings"]),
            page_starts=_starts(head["page_starts"], len(text)),
        )
    except (struct.error, ValueError, OverflowError, KeyError, TypeError):
        return None


def _starts(told: Any, length: int) -> tuple[int, ...]:
    """Where pages begin, as a worker says; raises ValueError for places that do not rise within the text."""
    starts = tuple(int(start) for start in told)
    if any(not 0 <= start <= length for start in starts) or list(starts) != sorted(starts):
        raise ValueError("pages must follow each other within the text")
    return starts


def _missing(answer: bytes) -> tuple[str, ...]:
    """The layers of the sandbox that a worker says it does without; of what it says only their names are believed."""
    try:
        (size,) = struct.unpack(">I", answer[:4])
        said = json.loads(answer[4 : 4 + size]).get("missing", ())
    except (struct.error, ValueError, AttributeError):
        return ()
    return tuple(layer for layer in LAYERS if layer in said) if isinstance(said, list) else ()


@cache
def _tell_once(missing: tuple[str, ...]) -> None:
    if missing:
        _log.warning("uploads are parsed without %s, which this host does not offer", ", ".join(missing))


def _import_paths() -> list[str]:
    """Where this process imports from, without the current folder, which might hold a stranger's files."""
    return [path for path in sys.path if os.path.isabs(path) and os.path.exists(path)]


def _environment() -> dict[str, str]:
    """Only what the interpreter itself may need to start; in particular no access token."""
    return {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if key in os.environ}
