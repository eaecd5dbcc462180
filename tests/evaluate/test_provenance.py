"""A commit is reported only where it is this project's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sliminfer.evaluate.provenance import commit

MODULE = "sliminfer/evaluate/provenance.py"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def repository(root: Path, *files: str) -> Path:
    """A repository at `root` whose one commit holds `files`."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q")
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("one\n")
        git(root, "add", file)
    git(root, "commit", "-q", "--allow-empty", "-m", "one")
    return root


def test_a_checkout_says_its_commit_and_whether_the_code_was_changed(tmp_path: Path) -> None:
    root = repository(tmp_path / "own", MODULE, "README.md")
    head = git(root, "rev-parse", "--short=12", "HEAD")
    assert commit(root) == head
    (root / "README.md").write_text("two\n")
    assert commit(root) == head
    (root / MODULE).write_text("two\n")
    assert commit(root) == f"{head}+changes"


def test_a_linked_worktree_and_a_path_through_a_link_are_checkouts(tmp_path: Path) -> None:
    root = repository(tmp_path / "own", MODULE)
    git(root, "worktree", "add", "-q", str(tmp_path / "tree"))
    (tmp_path / "link").symlink_to(root)
    head = git(root, "rev-parse", "--short=12", "HEAD")
    assert commit(tmp_path / "tree") == commit(tmp_path / "link") == head


def test_nothing_is_said_where_the_project_only_lies_in_a_repository(tmp_path: Path) -> None:
    theirs = repository(tmp_path / "theirs", "main.py", f".venv/lib/site-packages/{MODULE}")
    assert commit(theirs / ".venv/lib/site-packages") is None


def test_nothing_is_said_where_the_repository_does_not_track_the_project(tmp_path: Path) -> None:
    theirs = repository(tmp_path / "site-packages", "main.py")
    (theirs / MODULE).parent.mkdir(parents=True)
    (theirs / MODULE).write_text("one\n")
    assert commit(theirs) is None


def test_nothing_is_said_outside_a_repository(tmp_path: Path) -> None:
    (tmp_path / "sliminfer").mkdir()
    assert commit(tmp_path) is None


def test_a_hook_of_another_repository_does_not_lend_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = repository(tmp_path / "theirs", MODULE)
    (tmp_path / "installed").mkdir()
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    assert commit(tmp_path / "installed") is None
