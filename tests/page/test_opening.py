"""A saved result opens as a result, says where it comes from, and whatever else a file holds is a sentence."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sliminfer.errors import SlimError
from tests.page.driver import Driver
from tests.page.serving import QUESTION, Served
from viz.figures.fields import FileError
from viz.figures.run_file import RunFile
from viz.figures.stored import FOLDER
from viz.page.opening import FOREIGN, MOST_BYTES, PRESET, SEVERAL, read_bytes, read_result

MARKUP = "<img src=x onerror=alert(1)>"
SHOWN = ("verdict", "pane-full", "pane-pruned", "cards", "details", "replay")
EVAL = (FOLDER / "eval_demo_4k.json").read_bytes()


@pytest.fixture(scope="module")
def ran(page: Served) -> Driver:
    visit = Driver(page.url)
    visit.press("run")
    assert "Done" in visit.shown("status")
    return visit


@pytest.fixture(scope="module")
def saved(ran: Driver) -> bytes:
    return taken(ran, "json")


def taken(visit: Driver, ending: str) -> bytes:
    visit.press(f"take-{ending}")
    return base64.b64decode(visit.shown("taken")["bytes"])


def without_keys(html: str) -> str:
    """A map without what names it in the browser's calls."""
    return html.split("data-tokens", 1)[-1]


def test_a_saved_run_opens_as_the_result_that_it_was(page: Served, ran: Driver, saved: bytes) -> None:
    other = Driver(page.url)
    other.upload("my run.json", saved, "open-result")
    assert "Opened from my run.json, run by" in other.shown("status")
    (note, *_) = [said for said in other.noted().values() if said]
    assert 'class="opened"' in note
    assert QUESTION in note
    # The expected answer is not in a file: the verdict tells how the answers agree instead.
    for name in SHOWN[1:]:
        assert other.shown(name) == ran.shown(name), name
    for name in ("glance-map", "kept-map"):
        assert without_keys(other.shown(name)) == without_keys(ran.shown(name))
    assert "began to answer" in other.shown("verdict") or "less</b> arithmetic" in other.shown("verdict")
    doubt = "Low confidence"
    assert (doubt in other.shown("verdict")) is (doubt in ran.shown("verdict"))
    assert "data-token" not in other.shown("document-text"), "no marks of another document's tokens"


def test_an_opened_run_can_be_taken_away_again(page: Served, ran: Driver, saved: bytes) -> None:
    other = Driver(page.url)
    other.upload("run.json", saved, "open-result")
    again, first = json.loads(taken(other, "json")), json.loads(saved)
    assert again == first
    for ending in ("png", "gif"):
        assert taken(other, ending) == taken(ran, ending)


def test_the_next_run_takes_its_place_and_its_mark_stays_until_then(page: Served, saved: bytes) -> None:
    visit = Driver(page.url)
    visit.upload("run.json", saved, "open-result")
    visit.give("question", "Who lit the lamp?", "input")
    assert any("Opened from run.json" in said for said in visit.noted().values())
    visit.press("trace")
    assert "error" in visit.shown("status")
    visit.press("run")
    assert not any(visit.noted().values())
    assert json.loads(taken(visit, "json"))["asked"]["question"] == "Who lit the lamp?"


def test_an_evaluation_opens_beside_the_stored_ones(page: Served) -> None:
    visit = Driver(page.url)
    visit.upload("theirs.json", EVAL, "open-result")
    assert "Methods tab" in visit.shown("status")
    index = visit.shown("stored")
    assert index > 0
    part = next(each for each in visit.values.values() if isinstance(each, str) and "Opened from theirs.json" in each)
    assert "4,096 tokens" in part
    visit.give("stored", index, "input")
    visit.give("stored", -1, "input")
    assert not [each for each in visit.values.values() if isinstance(each, str) and "Opened from theirs" in each]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", FOREIGN),
        (b"\xff\xfe", FOREIGN),
        (b"[" * 100_000, FOREIGN),
        (b'{"full": NaN}', FOREIGN),
        (b"[1]", FOREIGN),
        (b'{"colour": "red"}', FOREIGN),
        (b'{"config": {"steps": []}, "tuned": {}}', PRESET),
        (b'{"questions": []}', SEVERAL),
        (b'{"full": {}, "pruned": {}}', "damaged"),
        (b'{"results": [3]}', "damaged"),
    ],
)
def test_foreign_and_damaged_files_are_refused_in_one_sentence(page: Served, content: bytes, words: str) -> None:
    with pytest.raises(FileError) as caught:
        read_result(content)
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")
    visit = Driver(page.url)
    visit.upload("x.json", content, "open-result")
    assert "status error" in visit.shown("status")
    assert not any(visit.noted().values())


def test_a_file_larger_than_any_result_is_not_read(tmp_path: Any) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(SlimError, match="larger than 16 MiB"):
        read_bytes(path)


def test_markup_in_every_string_of_a_run_stays_text(page: Served, saved: bytes) -> None:
    told = _marked(json.loads(saved))
    assert isinstance(read_result(json.dumps(told).encode()), RunFile)
    visit = Driver(page.url)
    visit.upload("run.json", json.dumps(told).encode(), "open-result")
    assert "status done" in visit.shown("status")
    shown = [json.dumps(value) for value in visit.values.values()]
    assert any("&lt;img" in each for each in shown)
    assert not [each for each in shown if "<img src=x" in each and '"taken"' not in each]
    for ending in ("html", "png", "gif", "zip"):
        assert b"<img src=x" not in taken(visit, ending)


def _marked(value: Any, at: str = "") -> Any:
    """A document with markup before every string that may be any."""
    if isinstance(value, dict):
        kept = {"config": value.get("config")} if "config" in value else {}
        return {key: _marked(each, key) for key, each in value.items()} | kept
    if isinstance(value, list):
        return [_marked(each, at) for each in value]
    return MARKUP + value if isinstance(value, str) and at not in ("reason", "date") else value
