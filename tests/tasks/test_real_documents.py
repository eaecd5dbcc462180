"""Fetching real documents: packages at hand are used, texts are held to their digest, what is missing is told."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import real_documents as script
from sliminfer.errors import SlimError
from sliminfer.tasks.real import QUESTIONS, read_questions
from sliminfer.tasks.real_documents import DOCUMENTS, RealDocument, digest, plain_text

ROOT = Path(__file__).resolve().parents[2]
TEXT = "The lamp was lit at nine.\n"


def document(**changes: str) -> RealDocument:
    source = {"registry": "pypi", "package": "North.Tower", "version": "1.0", "path": "docs/log.txt"}
    return replace(DOCUMENTS[0], name="log", sha256=digest(plain_text(TEXT.encode())), **(source | changes))


def source_distribution(folder: Path, content: bytes = TEXT.encode()) -> Path:
    path = folder / "north_tower-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        member = tarfile.TarInfo("north_tower-1.0/docs/log.txt")
        member.size = len(content)
        packed.addfile(member, io.BytesIO(content))
    return path


def test_a_source_distribution_that_lies_there_is_used(tmp_path: Path) -> None:
    path = source_distribution(tmp_path)
    assert script.archive_of(document(), tmp_path) == path
    assert script.text_of(document(), path) == TEXT


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs Debian's tools")
def test_a_debian_package_of_any_version_is_used_if_its_text_is_the_same(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: tower\nVersion: 2\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\nDescription: lamp\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr" / "log.gz").write_bytes(gzip.compress(TEXT.encode()))
    subprocess.run(["dpkg-deb", "--build", tree, tmp_path / "tower_2_all.deb"], check=True, capture_output=True)
    wanted = document(registry="debian", package="tower", version="1", path="usr/log.gz")
    path = script.archive_of(wanted, tmp_path)
    assert script.text_of(wanted, path) == TEXT
    with pytest.raises(SlimError, match=r"log has changed in tower_2_all\.deb: its questions are about tower 1"):
        script.text_of(replace(wanted, sha256="0" * 64), path)


def test_a_changed_text_and_a_missing_file_are_told(tmp_path: Path) -> None:
    path = source_distribution(tmp_path, b"The lamp was lit at ten.\n")
    with pytest.raises(SlimError, match=r"log has changed in north_tower-1\.0\.tar\.gz"):
        script.text_of(document(), path)
    with pytest.raises(SlimError, match=r"docs/other.txt cannot be read from .*: remove it and run again"):
        script.text_of(document(path="docs/other.txt"), path)


def test_a_machine_without_the_tool_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlimError, match="tower cannot be fetched: this machine has no apt-get"):
        script.archive_of(document(registry="debian", package="tower"), tmp_path)


def test_a_text_that_was_written_before_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(TEXT)
    assert script.is_there(tmp_path / "log.txt", document())
    assert not script.is_there(tmp_path / "log.txt", replace(document(), sha256="0" * 64))


def test_the_table_in_the_documentation_is_the_list() -> None:
    page = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    asked = [question.document for question in read_questions(QUESTIONS)]
    for each in DOCUMENTS:
        source = f"{each.package} {each.version}" + (" (Debian)" if each.registry == "debian" else "")
        wanted = f"| {each.title} | {source} | {each.licence} | {each.tokens:,} | {asked.count(each.name)} |"
        assert wanted in page, wanted
    assert re.search(rf"\*\*{len(asked)} questions about {len(DOCUMENTS)} documents\*\*", page)
