"""Readings of visitors: each finds its own alone, of the text that it has, and nothing is left once it is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.errors import ConfigError
from sliminfer.model.loading import LoadedModel
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded
from viz.page.readings import ReadingBounds, ReadingKey, Readings

CONFIG = SlimConfig((PruneStep(2, 0.3),), local=8)
TEXT = "The lamp of the north tower was lit at nine. " * 8


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny_loaded()


def key(text: str = TEXT, config: SlimConfig = CONFIG, name: str = "tiny") -> ReadingKey:
    return ReadingKey.of(name, "pruned", config, 6, text)


def test_a_visitor_finds_its_own_reading_of_its_own_text_and_schedule(loaded: LoadedModel) -> None:
    readings = Readings(lambda _: loaded.model)
    reading = SlimEngine(loaded).read(RunRequest(TEXT, "?", CONFIG))
    assert readings.hold("one", key(), reading)
    found = readings.find("one", key())
    assert found is not None
    assert found.ids == reading.ids
    assert readings.find("two", key()) is None
    others = [key(TEXT + "!"), key(config=CONFIG.with_changes(steps=(PruneStep(3, 0.3),))), key(name="other")]
    others += [key(config=CONFIG.with_changes(reading="sparse")), replace(key(), side="full")]
    assert [readings.find("one", each) for each in others] == [None] * len(others)
    readings.forget("one")
    assert readings.find("one", key()) is None
    with pytest.raises(ConfigError, match="ask"):
        key(config=CONFIG.with_changes(method="gemfilter"))


def test_files_are_in_a_folder_of_their_own_that_goes_with_the_page(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    readings = Readings(lambda _: loaded.model, ReadingBounds(device_mb=0, host_mb=0, file_mb=1))
    assert list(tmp_path.iterdir()) == []
    assert readings.hold("one", key(), SlimEngine(loaded).read(RunRequest(TEXT, "?", CONFIG)))
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert len(list(folder.iterdir())) == 1
    assert readings.find("one", key()) is not None
    readings.close()
    assert list(tmp_path.iterdir()) == []
    assert readings.find("one", key()) is None


def test_on_a_page_without_bounds_nothing_is_held(loaded: LoadedModel) -> None:
    readings = Readings(lambda _: loaded.model, ReadingBounds(0, 0, 0))
    assert not readings.hold("one", key(), SlimEngine(loaded).read(RunRequest(TEXT, "?", CONFIG)))
    assert readings.held == {"device": 0, "host": 0, "file": 0}
