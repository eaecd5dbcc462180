"""A file that has taken the parser over gets nothing by it: every way out that was once open is tried from inside."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sliminfer.documents import parse_document, parse_document_safely, safely, sandbox
from tests.documents import files

HOSTILE = Path(__file__).with_name("hostile")
ROOT = Path(__file__).resolve().parents[2]
needs_linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in sandbox._MACHINES, reason="the layers are Linux's"
)


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a hostile file would be after: a visitor's upload, a listening port, a local socket, the page's process."""
    upload = tmp_path / "upload.txt"
    upload.write_text("another visitor's text")
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as local:
        port.bind(("127.0.0.1", 0))
        port.listen()
        local.bind(str(tmp_path / "local"))
        local.listen()
        yield {
            "parent": os.getpid(), "upload": str(upload), "port": port.getsockname()[1],
            "socket": str(tmp_path / "local"),
        }  # fmt: skip


def probe(targets: dict[str, Any]) -> bytes:
    return b"%PDF-1.7\n%" + json.dumps(targets).encode()


@needs_linux
def test_nothing_that_the_probe_tries_is_done(targets: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.syspath_prepend(str(HOSTILE))
    told = json.loads(parse_document_safely(probe(targets), "a.pdf").text)
    assert len(told) > 25
    assert {name: said for name, said in told.items() if not said.startswith("refused")} == {}
    assert sorted(path.name for path in Path(targets["upload"]).parent.iterdir()) == ["local", "upload.txt"]


@needs_linux
@pytest.mark.parametrize(
    ("layer", "shut"),
    [
        (sandbox.NAMESPACES, {"a connection", "a datagram", "the parent's environment", "the parent's memory"}),
        (
            sandbox.LANDLOCK,
            {"the parent's environment", "another upload", "the folder of uploads", "another upload removed",
             "an empty file", "a connection", "a program", "the parent traced", "the parent's memory"},
        ),
        (
            sandbox.SECCOMP,
            {"the parent's environment", "another upload", "the folder of uploads", "another upload removed",
             "an empty file", "a connection", "a datagram", "a local socket", "a program", "a process", "a thread",
             "a signal", "the parent traced", "the parent's memory", "code made on the spot"},
        ),
    ],
)  # fmt: skip
def test_each_layer_holds_alone(layer: str, shut: set[str], targets: dict[str, Any]) -> None:
    program = [sys.executable, str(HOSTILE / "one_layer.py"), layer, json.dumps(targets)]
    ran = subprocess.run(program, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr.decode()
    entered, told = json.loads(ran.stdout)
    if not entered:
        pytest.skip(f"this host forbids {layer}")
    assert {name for name in shut if told[name].startswith("done")} == set()


@needs_linux
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the forbidding host is made of its call numbers")
def test_a_host_that_forbids_it_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\nREAL_PYTHON={sys.executable} exec {sys.executable} {HOSTILE / 'denying_python.py'} \"$@\"\n"
    )
    python.chmod(0o700)
    data = files.pdf([files.ENGLISH])
    plain = parse_document(data, "a.pdf")
    monkeypatch.setattr(sys, "executable", str(python))
    safely._tell_once.cache_clear()
    caplog.set_level(logging.WARNING, safely.__name__)
    assert [parse_document_safely(data, "a.pdf") for _ in range(2)] == [plain, plain]
    assert [record.getMessage() for record in caplog.records] == [
        "uploads are parsed without user and network namespaces, Landlock, seccomp, which this host does not offer"
    ]


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("[]", ()),
        ('["seccomp", "Landlock"]', ("Landlock", "seccomp")),
        ('["rm -rf", 7, ["seccomp"]]', ()),
        ('"seccomp"', ()),
        ("7", ()),
        ("null", ()),
    ],
)
def test_what_a_worker_says_of_its_layers_is_a_name_or_nothing(said: str, believed: tuple[str, ...]) -> None:
    head = f'{{"missing": {said}}}'.encode()
    assert safely._missing(len(head).to_bytes(4, "big") + head) == believed


@pytest.mark.parametrize("answer", [b"", b"\x00", b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x04null", b"\xff" * 9])
def test_a_garbled_answer_says_nothing_of_them(answer: bytes) -> None:
    assert safely._missing(answer) == ()
