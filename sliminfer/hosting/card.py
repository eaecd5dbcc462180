"""What is rendered from the Spacefile: the README's front matter and a Space's requirements."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from sliminfer.errors import ConfigError
from sliminfer.hosting.fits import overfull
from sliminfer.hosting.spacefile import Spacefile
from sliminfer.model.loading import DEMO_MODEL

FENCE = "---\n"


def front_matter(spacefile: Spacefile, name: str) -> str:
    """The README's front matter for profile `name`, fences included."""
    card, profile = spacefile.card, spacefile.profile(name)
    head: dict[str, Any] = {
        "title": card.title,
        "emoji": card.emoji,
        "colorFrom": card.colorFrom,
        "colorTo": card.colorTo,
        "sdk": card.sdk,
        "sdk_version": card.sdk_version,
        "python_version": profile.python,
        "app_file": card.app_file,
        "short_description": card.short_description,
        "license": card.license,
        "tags": list(card.tags),
        "startup_duration_timeout": card.startup_duration_timeout,
    }
    models = [model for model in profile.models if model != DEMO_MODEL]
    if models:
        head["models"] = models
    if profile.preload:
        head["preload_from_hub"] = list(profile.preload)
    if profile.hardware is not None:
        head["suggested_hardware"] = profile.hardware
    return f"{FENCE}{yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=200)}{FENCE}"


def split_readme(readme: str) -> tuple[str, str]:
    """Front matter (with its fences, empty where there is none) and the rest of `readme`."""
    if not readme.startswith(FENCE):
        return "", readme
    end = readme.find("\n" + FENCE, len(FENCE) - 1)
    if end < 0:
        raise ConfigError("README.md opens a front matter and never closes it: put a line of --- after it.")
    cut = end + 1 + len(FENCE)
    return readme[:cut], readme[cut:].lstrip("\n")


def rendered_readme(spacefile: Spacefile, name: str, readme: str) -> str:
    """`readme` with the front matter of profile `name` in place of its own."""
    return front_matter(spacefile, name) + "\n" + split_readme(readme)[1]


def rendered_requirements(spacefile: Spacefile, name: str, root: Path) -> str:
    """The requirements.txt of a Space with profile `name`: the project's pins with the profile's torch."""
    profile = spacefile.profile(name)
    lines = [f"# Rendered from the Spacefile for the profile {name}: `python -m sliminfer space render`."]
    lines += _pins(root / "requirements.txt")
    if profile.gpu_extras:
        lines += _pins(root / "requirements-gpu.txt")
    torch = f"torch=={profile.torch}"
    return "\n".join(torch if _package(line) == "torch" else line for line in lines) + "\n"


def disagreements(spacefile: Spacefile, root: Path) -> list[str]:
    """Where README.md, requirements.txt, the hardware and the Spacefile disagree, as sentences; empty if nowhere."""
    name = spacefile.default_profile
    profile = spacefile.profile(name)
    found = overfull(spacefile)
    remedy = "run `python -m sliminfer space render --write`"
    if split_readme(_read(root / "README.md"))[0] != front_matter(spacefile, name):
        found.append(f"README.md's front matter is not that of the profile {name}: {remedy}.")
    pins = {_package(line): line.partition("==")[2] for line in _pins(root / "requirements.txt")}
    for package, wanted, where in (
        ("torch", profile.torch, f"profiles.{name}.torch"),
        ("gradio", spacefile.card.sdk_version, "card.sdk_version"),
    ):
        if pins.get(package) != wanted:
            pinned = pins.get(package) or "nothing"
            found.append(f"requirements.txt pins {package} to {pinned}, the Spacefile's {where} says {wanted}.")
    if not (root / spacefile.card.app_file).is_file():
        found.append(f"card.app_file names {spacefile.card.app_file}, which is not there.")
    return found


def _pins(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in _read(path).splitlines())
    return [line for line in lines if line]


def _package(line: str) -> str:
    return re.split(r"[\s=<>!~;\[]", line, maxsplit=1)[0].lower()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): run from a checkout of the project.") from error
