"""Readings in files and on the shelf: whole or refused, the owner's alone, within their bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.reading import Reading
from sliminfer.engine.reading_file import load_reading, save_reading
from sliminfer.engine.reading_shelf import ReadingShelf
from sliminfer.engine.request import RunRequest
from sliminfer.errors import ConfigError
from sliminfer.model.loading import LoadedModel
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.engine.test_reading import DOCUMENT, assert_as_afresh, last
from tests.tiny import tiny_loaded, tiny_model

REQUEST = RunRequest(DOCUMENT, "Who?", SlimConfig((PruneStep(2, 0.3),), local=8), 3, ignore_eos=True)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny_loaded()


@pytest.fixture(scope="module")
def reading(loaded: LoadedModel) -> Reading:
    return SlimEngine(loaded).read(REQUEST)


def test_a_file_gives_the_reading_back(loaded: LoadedModel, reading: Reading, tmp_path: Path) -> None:
    path = tmp_path / "document.safetensors"
    save_reading(reading, path, loaded.model)
    save_reading(reading, path, loaded.model)  # in place of what is there
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    back = load_reading(path, loaded.model)
    assert (back.ids, back.layer) == (reading.ids, reading.layer)
    held = [(*each.keys, *each.values, each.hidden, each.tail) for each in (back, reading)]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*held, strict=True))
    engine = SlimEngine(loaded)
    assert_as_afresh(engine, REQUEST, last(engine.ask(back, REQUEST)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused(loaded: LoadedModel, reading: Reading, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "document.safetensors"
    save_reading(reading, path, loaded.model)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
    else:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    with pytest.raises(ConfigError) as refusal:
        load_reading(path, loaded.model)
    assert "\n" not in str(refusal.value)


def test_a_foreign_file_is_refused(reading: Reading, loaded: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "document.safetensors"
    save_reading(reading, path, loaded.model)
    with pytest.raises(ConfigError, match="another model"):
        load_reading(path, tiny_model(seed=1))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_reading(tmp_path / "nothing", loaded.model)
    with pytest.raises(ConfigError, match="cannot be written"):
        save_reading(reading, tmp_path / "no" / "folder", loaded.model)
    loaded.model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no reading"):
        load_reading(tmp_path / "model.safetensors", loaded.model)


actions = st.sampled_from(["put", "find", "forget"])
turns = st.lists(st.tuples(actions, st.integers(0, 2), st.integers(0, 4)), max_size=30)


@settings(max_examples=40, deadline=None)
@given(turns=turns, device=st.integers(0, 4), host=st.integers(0, 4))
def test_the_shelf_keeps_to_its_bounds_and_to_its_owners(
    reading: Reading, turns: list[tuple[str, int, int]], device: int, host: int
) -> None:
    documents = [replace(reading, ids=(index, *reading.ids[1:])) for index in range(5)]
    shelf = ReadingShelf(device * reading.nbytes, host * reading.nbytes)
    latest: list[tuple[str, int]] = []
    for what, who, which in turns:
        owner = f"visitor {who}"
        if what == "put":
            shelf.put(owner, "pruned", documents[which])
        if what == "forget":
            shelf.forget(owner)
            latest = [each for each in latest if each[0] != owner]
        else:
            found = shelf.find(owner, "pruned", documents[which].ids, reading.layer)
            assert found is None or found.ids == documents[which].ids
            assert shelf.find(owner, "full", documents[which].ids, reading.layer) is None
            if what == "put":
                latest = [each for each in latest if each != (owner, which)] + [(owner, which)]
                if device + host > 0:
                    assert found is not None
            elif found is not None:
                assert (owner, which) in latest
        assert shelf.held[0] <= shelf.device_bytes
        assert shelf.held[1] <= shelf.host_bytes
