"""The Spacefile: the shipped one is sound, and any damage to it is told in one sentence."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from sliminfer.hosting.spacefile import SPACEFILE, Spacefile, parse_spacefile, read_spacefile
from sliminfer.model.known import KNOWN
from sliminfer.model.loading import DEMO_MODEL

DATA: dict[str, Any] = yaml.safe_load(SPACEFILE.read_text(encoding="utf-8"))


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a value inside `data`."""
    if isinstance(data, dict):
        below = [(key, value) for key, value in data.items()]
    else:
        below = list(enumerate(data)) if isinstance(data, list) else []
    return [path, *(place for key, value in below for place in places(value, (*path, key)))]


def changed(path: tuple[Any, ...], value: Any) -> str:
    """The Spacefile with `value` at `path`."""
    data = copy.deepcopy(DATA)
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return yaml.safe_dump(data, allow_unicode=True)


def sentence(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_spacefile(text)
    told = str(caught.value)
    assert "\n" not in told
    assert told.endswith(".")
    assert "Traceback" not in told
    return told


def read_or_refused(text: str) -> Spacefile | None:
    """What `text` says, or None where it is refused, which must be with a sentence."""
    try:
        return parse_spacefile(text)
    except ConfigError:
        sentence(text)
        return None


def test_every_offered_model_is_known_and_every_profile_of_the_issue_is_there(spacefile: Spacefile) -> None:
    assert set(spacefile.profiles) == {"cpu", "zerogpu", "a10g", "a100", "h200"}
    for profile in spacefile.profiles.values():
        assert set(profile.models) <= {DEMO_MODEL, *KNOWN}
        assert all(profile.limits.prompt_tokens <= KNOWN[m].shape.context for m in profile.models[:1] if m in KNOWN)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("card", "colorFrom"), "mauve", "card.colorFrom"),
        (("card", "emoji"), "x", "card.emoji"),
        (("card", "short_description"), "long " * 20, "at most 60"),
        (("card", "sdk"), "docker", "gradio"),
        (("card", "sdk_version"), 6.31, "card.sdk_version"),
        (("card", "subtitle"), "more", "card.subtitle"),
        (("default_profile",), "tpu", "'tpu' is not among the profiles"),
        (("secrets",), ["hf_token=abc"], "secrets.0"),
        (("environment", "HF_TOKEN"), "abc", "HF_TOKEN is a secret"),
        (("environment", "A"), True, "environment.A"),
        (("profiles",), {}, "profiles"),
        (("profiles", "cpu", "readings"), {"device_mb": -1}, "readings.device_mb"),
        (("profiles", "cpu", "readings"), {"gpu_mb": 1}, "readings.gpu_mb"),
        (("profiles", "zerogpu", "readings"), {"device_mb": 1}, "leave readings out"),
        (("profiles", "cpu", "limits", "upload_mb"), 0, "profiles.cpu.limits.upload_mb"),
        (("profiles", "cpu", "limits", "queue_size"), "8", "queue_size"),
        (("profiles", "cpu", "limits", "new_tokens"), -5, "new_tokens"),
        (("profiles", "a10g", "hardware"), "a10g-tiny", "lends no 'a10g-tiny'"),
        (("profiles", "a10g", "attention"), "magic", "profiles.a10g.attention"),
        (("profiles", "a10g", "models"), ["evil/model"], "evil/model is not a known model"),
        (("profiles", "a10g", "models"), ["demo", "demo"], "listed twice"),
        (("profiles", "a10g", "models"), [], "profiles.a10g.models"),
        (("profiles", "a10g", "preload"), ["Qwen/Qwen2.5-7B-Instruct"], "preloaded"),
        (("profiles", "a10g", "python"), "3.10", "older than 3.11"),
        (("profiles", "zerogpu", "torch"), "2.13.0", "ZeroGPU runs torch"),
        (("profiles", "zerogpu", "python"), "3.12", "ZeroGPU runs Python"),
    ],
)
def test_a_mistake_is_told_with_its_place(path: tuple[Any, ...], value: Any, words: str) -> None:
    assert words in sentence(changed(path, value))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([place for place in places(DATA) if place]), st.data())
def test_a_required_thing_that_is_gone_or_of_another_kind_never_passes_unseen(path: tuple[Any, ...], data: Any) -> None:
    """Whatever stands at a place: the file is refused with a sentence, or what it says there is taken over."""
    value = data.draw(
        st.none() | st.booleans() | st.integers(-5, 10**7) | st.floats() | st.text(max_size=70)
        | st.lists(st.text(max_size=9), max_size=2) | st.dictionaries(st.text(max_size=9), st.integers(), max_size=2)
    )  # fmt: skip
    read = read_or_refused(changed(path, value))
    if read is not None:
        found: Any = read.model_dump()
        for key in path:
            found = found[key]
        assert found == value or (isinstance(value, str) and found == value.strip())


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_text_that_is_no_spacefile_gets_a_sentence(text: str) -> None:
    assert len(sentence(text)) > 20


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.text(min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused_but_never_crashes(at: int, noise: str) -> None:
    text = SPACEFILE.read_text(encoding="utf-8")
    at %= len(text)
    read_or_refused(text[:at] + noise + text[at:])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("card: [", "not valid YAML"),
        ("a: 1\na: 2\n", "stands twice"),
        ("a: &x [1, 2]\nb: *x\n", "aliases are not allowed"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("2026-99-99", "not valid YAML"),
        ("", "no mapping"),
        ("- card\n", "no mapping"),
    ],
)
def test_yaml_tricks_are_refused(text: str, words: str) -> None:
    assert words in sentence(text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_spacefile(tmp_path / "Spacefile")
    (tmp_path / "Spacefile").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_spacefile(tmp_path / "Spacefile")
