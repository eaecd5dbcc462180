"""The documentation: it builds without a network and without a warning, asks no other server, and is current."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import sliminfer
from sliminfer import decode_policies, selectors

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NO_NETWORK = """
import socket

def refuse(*_):
    raise OSError("there is no network here")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    cut_off = tmp_path_factory.mktemp("cut_off")
    (cut_off / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(cut_off), "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class _Loaded(HTMLParser):
    """Collects what a browser fetches by itself to show a page: not what its links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name in ("src", "srcset", "data", "poster") or (tag == "link" and name == "href")):
                self.addresses.append(value)


def test_no_page_asks_another_server(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert pages
    loaded = _Loaded()
    for page in pages:
        loaded.feed(page.read_text(encoding="utf-8"))
    styles = "".join(sheet.read_text(encoding="utf-8") for sheet in site.rglob("*.css"))
    found = [*loaded.addresses, *re.findall(r"""(?:url\(|@import )["']?([^"')]+)""", styles)]
    assert [address for address in found if re.match(r"(https?:)?//", address)] == []


def test_every_public_name_and_method_is_in_the_reference(site: Path) -> None:
    python = (site / "python-reference.html").read_text(encoding="utf-8")
    assert [name for name in sliminfer.__all__ if f'id="sliminfer.{name}"' not in python] == []
    methods = (site / "methods-reference.html").read_text(encoding="utf-8")
    own = [selectors.selector_class(name) for name in own_methods()]
    assert [cls for cls in own if f'id="{cls.__module__}.{cls.__qualname__}"' not in methods] == []


def test_links_between_files_of_the_repository_became_links_between_pages(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="architecture.html"' in start
    assert 'href="contributing.html"' in start
    assert 'src="assets/screenshots/compare_light.png"' in start
    assert (site / "assets" / "screenshots" / "compare_light.png").is_file()
    assert 'href="../' not in (site / "deploy.html").read_text(encoding="utf-8")


def test_the_page_of_the_command_line_is_current(tmp_path: Path) -> None:
    """`make docs` writes it anew."""
    fresh = tmp_path / "command-line.md"
    generate = [sys.executable, "-m", "typer", "sliminfer.cli", "utils", "docs", "--name", "sliminfer"]
    subprocess.run([*generate, "--title", "Command line", "--output", str(fresh)], cwd=ROOT, check=True)
    current = (DOCS / "command-line.md").read_text(encoding="utf-8") == fresh.read_text(encoding="utf-8")
    assert current, "run make docs, and commit docs/command-line.md"


def own_methods() -> set[str]:
    """The project's methods: others may be registered in this process or installed."""
    return {
        name for name in selectors.available() if selectors.selector_class(name).__module__.startswith("sliminfer.")
    }


def test_the_page_of_methods_lists_all_of_them() -> None:
    names = re.findall(r"^\| `([\w-]+)` \|", (DOCS / "methods.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(names) == sorted([*own_methods(), *decode_policies.available()])


def test_the_hook_before_a_commit_runs_what_make_lint_does() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", str(path)], check=True)
    (repository,) = yaml.safe_load(path.read_text(encoding="utf-8"))["repos"]
    (hook,) = repository["hooks"]
    assert repository["repo"] == "local"
    assert (hook["entry"], hook["language"], hook["pass_filenames"]) == ("make lint", "system", False)


def test_every_file_that_a_page_names_is_there() -> None:
    named = re.compile(r"`((?:tests|sliminfer|viz|kernels|benchmarks|docs|assets)/[\w./-]+)`")
    pages = [*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "assets" / "demo_model" / "README.md"]
    missing = {
        (page.name, path) for page in pages for path in named.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    }  # fmt: skip
    assert missing == set()
