"""What is rendered from the Spacefile, that it agrees with what is committed, and the choice of a profile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from sliminfer.errors import ConfigError
from sliminfer.hosting import chosen_profile, front_matter, rendered_readme, rendered_requirements
from sliminfer.hosting.card import disagreements, split_readme
from sliminfer.hosting.fits import overfull
from sliminfer.hosting.spacefile import SPACEFILE, Spacefile

ROOT = SPACEFILE.parent
PROFILES = ("cpu", "zerogpu", "a10g", "a100", "h200")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("README.md", "requirements.txt", "requirements-gpu.txt", "app.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_what_is_committed_agrees(spacefile: Spacefile) -> None:
    assert disagreements(spacefile, ROOT) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("README.md", "sdk: gradio", "sdk: docker", "front matter"),
        ("README.md", "---\n", "", "front matter"),
        ("requirements.txt", "torch==2.13.0", "torch==2.12.0", "torch to 2.12.0"),
        ("requirements.txt", "gradio==6.31.0", "gradio", "gradio to nothing"),
    ],
)
def test_a_disagreement_is_found(spacefile: Spacefile, copy: Path, file: str, old: str, new: str, words: str) -> None:
    path = copy / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(words in fault for fault in disagreements(spacefile, copy))


def test_a_model_that_does_not_fit_its_hardware_is_told_with_the_numbers(spacefile: Spacefile) -> None:
    small = spacefile.profiles["a100"].model_copy(update={"hardware": "a10g-small"})
    told = " ".join(overfull(spacefile.model_copy(update={"profiles": {"small": small}})))
    assert "meta-llama/Llama-3.1-8B-Instruct with 131,072 tokens, which takes 50.8 GB with" in told
    assert "on a10g-small with 24 GB" in told
    assert "Qwen2.5-1.5B" not in told


@pytest.mark.parametrize("name", PROFILES)
def test_rendering_the_readme_again_changes_nothing_and_keeps_its_text(spacefile: Spacefile, name: str) -> None:
    body = "# Title\n\nText\n---\nmore\n"
    once = rendered_readme(spacefile, name, body)
    assert rendered_readme(spacefile, name, once) == once
    assert split_readme(once) == (front_matter(spacefile, name), body)
    head = yaml.safe_load(front_matter(spacefile, name).strip("-\n"))
    assert head["python_version"] == spacefile.profile(name).python
    assert head.get("suggested_hardware") == spacefile.profile(name).hardware
    assert "demo" not in head.get("models", [])


def test_a_front_matter_without_end_is_told() -> None:
    with pytest.raises(ConfigError, match="never closes"):
        split_readme("---\ntitle: x\n")


@pytest.mark.parametrize("name", PROFILES)
def test_requirements_differ_from_the_projects_only_in_torch_and_gpu_extras(spacefile: Spacefile, name: str) -> None:
    def packages(text: str) -> set[str]:
        return {line for line in text.splitlines() if line and not line.startswith("#")}

    own = packages((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    rendered = packages(rendered_requirements(spacefile, name, ROOT))
    profile = spacefile.profile(name)
    assert f"torch=={profile.torch}" in rendered
    extra = {line for line in rendered - own if not line.startswith("torch==")}
    assert extra == ({"kernels>=0.16,<0.19"} if profile.gpu_extras else set())


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        ({"SLIMINFER_PROFILE": ""}, None),
        ({"SLIMINFER_PROFILE": "a100"}, "a100"),
        ({"SPACE_ID": "a/b"}, "cpu"),
        ({"SPACE_ID": "a/b", "SPACES_ZERO_GPU": "true"}, "zerogpu"),
        ({"SPACE_ID": "a/b", "SLIMINFER_PROFILE": "a10g"}, "a10g"),
        ({"SPACE_ID": "a/b", "SPACES_ZERO_GPU": "0"}, "cpu"),
    ],
)
def test_the_environment_chooses(spacefile: Spacefile, environment: dict[str, str], name: str | None) -> None:
    chosen = chosen_profile(spacefile, environment)
    assert (None if chosen is None else chosen[0]) == name


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SLIMINFER_PROFILE": "tpu"}, "no profile 'tpu'"),
        ({"SPACE_ID": "a/b", "SLIMINFER_PROFILE": "zerogpu"}, "does not have ZeroGPU"),
        ({"SPACE_ID": "a/b", "SPACES_ZERO_GPU": "1", "SLIMINFER_PROFILE": "a100"}, "has ZeroGPU"),
    ],
)
def test_a_choice_that_cannot_be_is_told(spacefile: Spacefile, environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        chosen_profile(spacefile, environment)
