"""What the project says about itself holds: its requirements, its one version, its licence."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from sliminfer import __version__

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# torch, transformers and gradio cannot be without these.
COMES_ALONG = {"tokenizers", "triton", "huggingface-hub", "pyyaml", "starlette"}
OURS = {"sliminfer", "viz"}


def parsed(lines: list[str]) -> list[Requirement]:
    return [Requirement(line) for line in lines]


def names(lines: list[str]) -> set[str]:
    return {each.name.lower().replace("_", "-") for each in parsed(lines)} - {"sliminfer"}


CORE = names(PROJECT["dependencies"])
EXTRAS = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}
# What typer was built on before it had its own copy; tried where the copy is not there.
TRIALS = {"click"}


def imports(tree: ast.AST, within_functions: bool) -> Iterator[str]:
    """Top-level names of the modules that are imported; those within functions and `try` only on request."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        lazy = isinstance(node, ast.FunctionDef | ast.Try) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        )
        if within_functions or not lazy:
            yield from imports(node, within_functions)


def packages(folder: str, within_functions: bool) -> set[str]:
    """The packages that the code in `folder` imports, by the names they are installed under."""
    known = packages_distributions()
    found = {
        module
        for path in (ROOT / folder).rglob("*.py")
        for module in imports(ast.parse(path.read_text(encoding="utf-8")), within_functions)
    }
    foreign = found - set(sys.stdlib_module_names) - OURS
    return {known.get(module, [module])[0].lower().replace("_", "-") for module in foreign}


@pytest.mark.parametrize("folder", ["sliminfer", "viz", "kernels"])
def test_every_package_that_is_imported_is_declared(folder: str) -> None:
    declared = CORE | COMES_ALONG | TRIALS | set().union(*EXTRAS.values())
    assert packages(folder, within_functions=True) - declared == set()


def test_importing_the_engine_takes_the_core_alone() -> None:
    assert packages("sliminfer", within_functions=False) - CORE - COMES_ALONG == set()


def test_every_package_that_is_declared_is_imported_or_used_by_one_that_is() -> None:
    used = packages("sliminfer", within_functions=True) | packages("viz", within_functions=True)
    # pyarrow writes pandas' Parquet, spaces lends the GPU of a Space and is imported by app.py, NVML is torch's.
    assert (CORE | set().union(*EXTRAS.values())) - used <= {"pyarrow", "spaces", "nvidia-ml-py"}


def test_what_ships_with_the_project_is_found_through_one_door() -> None:
    """`sliminfer.assets` knows where a wheel has it; a path from a module's own place holds in a checkout only."""
    modules = [*(ROOT / "sliminfer").rglob("*.py"), *(ROOT / "viz").rglob("*.py")]
    named = [
        path for path in modules for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == "assets"
    ]  # fmt: skip
    assert named == [ROOT / "sliminfer" / "assets" / "__init__.py"]


def test_all_extras_together_are_all() -> None:
    (everything,) = parsed(PROJECT["optional-dependencies"]["all"])
    assert everything.extras == set(EXTRAS) - {"all"}


def test_the_pins_of_the_page_lie_within_what_is_declared() -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    pins = {each.name.lower().replace("_", "-"): each.specifier for each in parsed(lines)}
    wanted = [*parsed(PROJECT["dependencies"])]
    for extra, asked in PROJECT["optional-dependencies"].items():
        wanted += [] if extra == "mcp" else [each for each in parsed(asked) if each.name != "sliminfer"]
    for requirement in wanted:
        name = requirement.name.lower().replace("_", "-")
        assert name in pins
        for version in (pin.version for pin in pins[name]):
            assert requirement.specifier.contains(version), name


def test_there_is_one_version() -> None:
    assert "version" in PROJECT["dynamic"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] == __version__


def test_the_citation_names_the_paper_and_the_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2508.06447"
