"""Stands in for pypdf where a test asks what a file could do that has taken the parser over.

It runs in the worker's process, in the place of the real reader, tries all that such a file would try, and gives back
what came of it as the text of the PDF's one page. The targets are the JSON in the file's comment.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

LIBC = ctypes.CDLL(None, use_errno=True)


class PdfReader:
    """One page, which tells what could be done."""

    is_encrypted = False

    def __init__(self, stream: BinaryIO) -> None:
        self.pages = [_Page(json.loads(stream.read().partition(b"\n%")[2]))]


class _Page:
    def __init__(self, targets: dict[str, Any]) -> None:
        self._targets = targets

    def extract_text(self) -> str:
        return json.dumps({name: _tried(attempt, self._targets) for name, attempt in ATTEMPTS.items()})


def _tried(attempt: Callable[[dict[str, Any]], object], targets: dict[str, Any]) -> str:
    """What an attempt brought, or how it failed."""
    try:
        return f"done: {attempt(targets)}"
    except BaseException as error:
        return f"refused: {type(error).__name__}"


def _called(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def _environment(_: dict[str, Any]) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}  # which Python sets itself
    if not found:
        raise PermissionError
    return found


def _fork(_: dict[str, Any]) -> str:
    child = os.fork()
    if child == 0:
        os._exit(0)
    return "a process"


def _thread(_: dict[str, Any]) -> str:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return "a thread"


def _memory_of_parent(targets: dict[str, Any]) -> str:
    there, here = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(here), 8)
    remote = (ctypes.c_void_p * 2)(ctypes.addressof(there), 8)
    _called(LIBC.process_vm_readv(targets["parent"], local, 1, remote, 1, 0))
    return "its memory"


def _new_code(_: dict[str, Any]) -> str:
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC):
        return "memory for code"


def _sent(kind: int, address: Any, family: int = socket.AF_INET) -> str:
    with socket.socket(family, kind) as line:
        line.connect(address)
        line.send(b"secret")
    return "sent"


ATTEMPTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "its own environment": _environment,
    "the parent's environment": lambda t: len(Path(f"/proc/{t['parent']}/environ").read_bytes()),
    "the parent's memory map": lambda t: len(Path(f"/proc/{t['parent']}/maps").read_text()),
    "the parent's memory": _memory_of_parent,
    "another upload": lambda t: Path(t["upload"]).read_text(),
    "the folder of uploads": lambda t: os.listdir(Path(t["upload"]).parent),
    "whether another upload is there": lambda t: Path(t["upload"]).stat().st_size,
    "another upload removed": lambda t: os.unlink(t["upload"]),
    "another upload moved": lambda t: os.rename(t["upload"], f"{t['upload']}.gone"),
    "another upload opened up": lambda t: os.chmod(t["upload"], 0o666),
    "a link to it": lambda t: os.symlink(t["upload"], f"{t['upload']}.link"),
    "an empty file": lambda t: os.close(os.open(f"{t['upload']}.new", os.O_CREAT | os.O_WRONLY)),
    "a folder": lambda t: os.mkdir(f"{t['upload']}.folder"),
    "the machine's users": lambda _: Path("/etc/passwd").read_text()[:10],
    "a connection": lambda t: _sent(socket.SOCK_STREAM, ("127.0.0.1", t["port"])),
    "a datagram": lambda t: _sent(socket.SOCK_DGRAM, ("127.0.0.1", t["port"])),
    "a local socket": lambda t: _sent(socket.SOCK_STREAM, t["socket"], socket.AF_UNIX),
    "the network's names": lambda _: socket.if_nameindex(),
    "a process": _fork,
    "a program": lambda _: subprocess.run(["/bin/true"], check=True),
    "a thread": _thread,
    "a signal": lambda t: os.kill(t["parent"], 0),
    "a priority": lambda _: os.nice(-5),
    "the parent traced": lambda t: _called(LIBC.ptrace(16, t["parent"], 0, 0)),
    "another user": lambda _: os.setuid(1),
    "another root": lambda _: os.chroot("/tmp"),
    "more processor": lambda _: os.sched_setaffinity(0, {0}),
    "code made on the spot": _new_code,
}
