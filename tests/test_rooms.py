"""The rooms of docs/architecture.md: imports point down its table only, no module is missing from it, no circles."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
TREES = ("sliminfer", "viz", "kernels")
# The root of the package and of the page hold names only: what they import is looked up when it is used.
NAMES_ONLY = {"sliminfer", "viz"}
# Packages that a room must not reach for, by the beginning of the room's name.
FORBIDDEN = {
    "sliminfer": {"gradio", "plotly", "viz"},
    "viz.figures": {"gradio"},
    "viz.door": {"gradio", "torch"},
    "kernels": {"sliminfer", "viz", "transformers"},
}


def rooms() -> list[str]:
    """Dotted names of the rooms, the lowest first."""
    table = PAGE.read_text(encoding="utf-8").partition("## Rooms")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    places = [place for cell in cells for place in re.findall(r"`([^`]+)`", cell)]
    return [place.removesuffix(".py").strip("/").replace("/", ".") for place in reversed(places)]


def modules() -> dict[str, Path]:
    """All modules of the project by dotted name."""
    files = [ROOT / "app.py", *(file for tree in TREES for file in sorted((ROOT / tree).rglob("*.py")))]
    named = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in named.items()}


def imported(file: Path) -> set[str]:
    """Dotted names of all that `file` imports, wherever in it, but for the sake of types alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room_of(module: str, order: list[str]) -> str | None:
    """The room that `module` lies in: the longest name of the table that it begins with."""
    fitting = [room for room in order if module == room or module.startswith(f"{room}.")]
    return max(fitting, key=len, default=None)


def local_imports() -> dict[str, set[str]]:
    """Module -> modules of the project that it imports."""
    known = modules()
    edges: dict[str, set[str]] = {}
    for module, file in known.items():
        edges[module] = set()
        for name in imported(file):
            target = name if name in known else name.rpartition(".")[0]
            # The version is no module's business but the root's, which is loaded before any of them.
            if target in known and target != module and name != "sliminfer.__version__":
                edges[module].add(target)
    return edges


def test_every_module_lies_in_a_room() -> None:
    order = rooms()
    homeless = [m for m in modules() if m not in NAMES_ONLY and room_of(m, order) is None]
    assert not homeless


def test_every_room_exists() -> None:
    known = modules()
    assert [room for room in rooms() if not any(room_of(m, [room]) for m in known)] == []


def test_imports_point_down() -> None:
    order = rooms()
    upward = []
    for module, targets in local_imports().items():
        for target in targets - NAMES_ONLY:
            mine, theirs = room_of(module, order), room_of(target, order)
            if mine and theirs and order.index(theirs) > order.index(mine):
                upward.append(f"{module} -> {target}")
    assert not upward


def test_no_module_but_the_entry_points_imports_the_public_names() -> None:
    allowed = {"app", "sliminfer.__main__"}
    assert [m for m, targets in local_imports().items() if targets & NAMES_ONLY and m not in allowed] == []


def test_there_is_no_circle() -> None:
    try:
        TopologicalSorter(local_imports()).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


@pytest.mark.parametrize("beginning", sorted(FORBIDDEN))
def test_a_room_leaves_out_what_is_not_its_business(beginning: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module, file in modules().items()
        if module == beginning or module.startswith(f"{beginning}.")
        for name in imported(file)
        if name.partition(".")[0] in FORBIDDEN[beginning]
    ]
    assert not wrong


def test_the_root_of_the_package_stays_clear() -> None:
    allowed = {"__init__.py", "__main__.py", "cli.py", "errors.py", "py.typed"}
    assert {file.name for file in (ROOT / "sliminfer").iterdir() if file.is_file()} <= allowed


def test_whoever_asks_where_to_add_something_is_sent_to_a_place_that_exists() -> None:
    rows = PAGE.read_text(encoding="utf-8").partition("## Where do I")[2].partition("\n## ")[0].splitlines()
    places = [place for row in rows if "(planned)" not in row for place in re.findall(r"`([^`\s]+/[^`\s]*)`", row)]
    assert len(places) > 10
    assert [place for place in places if not (ROOT / place).exists()] == []
