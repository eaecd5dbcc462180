"""Nothing reaches into a library's or another module's private names, but for the `compat` modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_rooms import ROOT, modules

COMPAT = {"sliminfer.ops.compat", "sliminfer.commands.compat", "viz.page.compat"}
# Libraries' insides that bear no underscore, by what stands in the code.
INSIDES = ("gradio.utils", "gradio.queueing", "gradio.routes", "gradio.route_utils", "gradio.blocks")


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def reached(file: Path) -> Iterator[str]:
    """What `file` takes that is private to somebody else."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and private(node.attr):
            owner = node.value
            own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
            if not own:
                yield f"{ast.unparse(node)} (line {node.lineno})"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names]
            whole = [f"{node.module}.{name}" for name in named] if isinstance(node, ast.ImportFrom) else named
            for name in whole:
                if any(map(private, name.split("."))) or name.startswith(INSIDES):
                    yield f"import of {name} (line {node.lineno})"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            constants = [arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)]
            if any(private(str(value)) for value in constants):
                yield f"{ast.unparse(node)} (line {node.lineno})"


@pytest.mark.parametrize("module", sorted(set(modules()) - COMPAT))
def test_a_module_keeps_to_what_is_promised(module: str) -> None:
    assert list(reached(modules()[module])) == []


@pytest.mark.parametrize("module", sorted(COMPAT))
def test_each_compat_module_is_needed_and_tested(module: str) -> None:
    file = modules()[module]
    tests = ROOT / "tests" / Path(*module.split(".")[1:-1]) / "test_compat.py"
    names = {
        node.name for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    }
    text = tests.read_text(encoding="utf-8")
    assert names
    assert {name for name in names if name not in text} == set()
