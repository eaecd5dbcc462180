"""An empty virtual environment that holds a wheel and what it declares to need, and nothing else.

What is declared is not downloaded again: the packages of the environment that runs the tests are linked, each by
itself, so that a package which is not declared is as absent as on a stranger's machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

# One thread: on a busy machine threads that wait for each other take five times as long.
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def required(distribution: Distribution, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """What `distribution` asks for on this machine, with `extras`."""
    for line in distribution.requires or ():
        requirement = Requirement(line)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
            yield requirement


def closure(start: Distribution, extras: Iterable[str] = ()) -> dict[str, Distribution]:
    """Everything that `start` with `extras` needs, directly or not, by name; itself left out.

    Raises PackageNotFoundError for a requirement that is not installed, AssertionError for one of another version.
    """
    found: dict[str, Distribution] = {}
    waiting = list(required(start, extras))
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        if name not in found:
            found[name] = distribution(requirement.name)
            waiting += required(found[name])
        assert requirement.specifier.contains(found[name].version, prereleases=True), requirement
        waiting += [each for each in required(found[name], requirement.extras) if each.name.lower() not in found]
    return found


class Environment:
    """A virtual environment in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        self.site = next(folder.glob("lib/python3*/site-packages"))

    def install(self, wheel: Path) -> None:
        """What `pip install --no-deps` does."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--no-index", "--no-compile", str(wheel)], check=True)

    def link(self, packages: Iterable[Distribution], folder: Path) -> None:
        """Make installed packages importable from `folder`, with what is written about them."""
        for package in packages:
            for top in sorted({file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}):
                here = folder / top
                if not here.exists():
                    here.symlink_to(Path(str(package.locate_file(top))).resolve())

    def run(self, *command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment, by name, in the folder `cwd`."""
        program, *arguments = map(str, command)
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
        return subprocess.run(
            [str(self.python.with_name(program)), *arguments],
            cwd=cwd, env=clean | QUIET | environment, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
