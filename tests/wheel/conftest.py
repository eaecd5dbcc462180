"""The wheel of this checkout, built once, and an empty environment that it is installed in."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tests.wheel.environment import Environment, closure

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and its core dependencies."""
    environment = Environment(tmp_path_factory.mktemp("installed") / "venv")
    environment.install(wheel)
    environment.link(closure(metadata(environment)).values(), environment.site)
    return environment


@pytest.fixture(scope="session")
def with_documents(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with what the extra `documents` adds."""
    return added(installed, "documents", tmp_path_factory.mktemp("documents"))


@pytest.fixture(scope="session")
def with_page(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with what the extra `page` adds."""
    return added(installed, "page", tmp_path_factory.mktemp("page"))


def added(environment: Environment, extra: str, folder: Path) -> Path:
    start = metadata(environment)
    core = closure(start)
    environment.link([each for name, each in closure(start, [extra]).items() if name not in core], folder)
    return folder


def metadata(environment: Environment) -> Distribution:
    (folder,) = environment.site.glob("sliminfer-*.dist-info")
    return Distribution.at(folder)
