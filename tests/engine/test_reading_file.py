"""Readings in files and on the shelf: whole or refused, the owner's alone, within their bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.reading import Reading
from sliminfer.engine.reading_file import file_bytes, load_reading, save_reading
from sliminfer.engine.reading_shelf import ReadingFiles, ReadingShelf
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
turns = st.lists(st.tuples(actions, st.integers(0, 2), st.integers(0, 4)), max_size=20)
bounds = st.integers(0, 3)


def shelf_of(loaded: LoadedModel, folder: Path, most: tuple[int, int, int], reading: Reading) -> ReadingShelf:
    """A shelf with room for so many readings on the device, on the host, and in files."""
    files = ReadingFiles(most[2] * file_bytes(reading), lambda: folder, lambda _: loaded.model)
    return ReadingShelf(most[0] * reading.nbytes, most[1] * reading.nbytes, files)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=turns, most=st.tuples(bounds, bounds, bounds))
def test_the_shelf_holds_what_was_used_last_within_its_bounds(
    loaded: LoadedModel,
    reading: Reading,
    turns: list[tuple[str, int, int]],
    most: tuple[int, int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("shelf")
    documents = [replace(reading, ids=(index, *reading.ids[1:])) for index in range(5)]
    shelf, latest = shelf_of(loaded, folder, most, reading), list[tuple[str, int]]()
    for what, who, which in turns:
        owner, place = f"visitor {who}", (f"visitor {who}", which)
        if what == "put":
            assert shelf.put(owner, which, documents[which]) == any(most)
            latest = [each for each in latest if each != place] + [place]
        elif what == "forget":
            shelf.forget(owner)
            latest = [each for each in latest if each[0] != owner]
        else:
            found = shelf.find(owner, which)
            if found is not None:
                assert found.ids == documents[which].ids
                assert place in latest
                latest = [each for each in latest if each != place] + [place]
        held = shelf.held
        assert held["device"] <= most[0] * reading.nbytes
        assert held["host"] <= most[1] * reading.nbytes
        files = list(folder.iterdir())
        assert sum(each.stat().st_size for each in files) <= held["file"] <= most[2] * file_bytes(reading)
        here = [place for place in latest if place[1] in shelf.keys(place[0])]
        assert what != "put" or not any(most) or here[-1] == place
        assert len(here) == sum(len(shelf.keys(f"visitor {each}")) for each in range(3))
        latest = here


def test_the_least_recently_used_goes_from_the_device_to_the_host_to_a_file_and_away(
    loaded: LoadedModel, reading: Reading, tmp_path: Path
) -> None:
    shelf = shelf_of(loaded, tmp_path, (1, 1, 1), reading)
    places: list[dict[str, int]] = []
    for key in "abcd":
        shelf.put("visitor", key, replace(reading, request=REQUEST))
        places.append({where: size > 0 for where, size in shelf.held.items()})
    assert [sum(each.values()) for each in places] == [1, 2, 3, 3]
    assert shelf.keys("visitor") == ["b", "c", "d"]
    back = shelf.find("visitor", "b")
    assert back is not None
    assert back.request is None
    assert_as_afresh(SlimEngine(loaded), REQUEST, last(SlimEngine(loaded).ask(back, REQUEST)))
    assert shelf.keys("visitor") == ["c", "d", "b"]
    assert [each.stat().st_mode & 0o077 for each in tmp_path.iterdir()] == [0]
    assert shelf.find("somebody else", "b") is None
    shelf.forget_idle(60)
    assert len(shelf.keys("visitor")) == 3
    shelf.forget("visitor")
    assert list(tmp_path.iterdir()) == []
    shelf.put("visitor", "e", reading)
    shelf.forget_idle(-1)
    assert shelf.find("visitor", "e") is None


def test_a_damaged_file_on_the_shelf_is_gone_and_another_models_too(
    loaded: LoadedModel, reading: Reading, tmp_path: Path
) -> None:
    model: list[nn.Module | None] = [loaded.model]
    files = ReadingFiles(2 * file_bytes(reading), lambda: tmp_path, lambda _: model[0])
    shelf = ReadingShelf(0, 0, files)
    assert shelf.put("visitor", "a", reading)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert shelf.find("visitor", "a") is None
    assert (shelf.keys("visitor"), list(tmp_path.iterdir())) == ([], [])
    shelf.put("visitor", "a", reading)
    model[0] = None  # another one is in memory for a while
    assert shelf.find("visitor", "a") is None
    assert not shelf.put("visitor", "b", reading)
    model[0] = loaded.model
    assert shelf.find("visitor", "a") is not None
    model[0] = tiny_model(seed=1)
    assert shelf.find("visitor", "a") is None
    assert shelf.keys("visitor") == []


def test_a_disk_that_takes_nothing_loses_the_reading_and_no_more(
    loaded: LoadedModel, reading: Reading, tmp_path: Path
) -> None:
    files = ReadingFiles(2 * file_bytes(reading), lambda: tmp_path / "no" / "folder", lambda _: loaded.model)
    assert not ReadingShelf(0, 0, files).put("visitor", "a", reading)
