"""A saved run is read back as what it was, and whatever else a file holds, it is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded
from viz.figures.cards import cards_html
from viz.figures.compare import compare_html
from viz.figures.export import json_bytes, png_bytes, run_figures, run_json, run_tables
from viz.figures.fields import Fields, FileError
from viz.figures.kept import kept_html
from viz.figures.kept_map import KeptMap
from viz.figures.picture import picture_png
from viz.figures.race import race_gif
from viz.figures.replay import replay_html
from viz.figures.run_file import RunFile

CONFIG = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=16, active=0.5, refresh=1)
DOCUMENT = "The lamp of the north tower was lit at nine. " * 12
QUESTION = "When was the lamp lit?"
EVIDENCE = ((40, 60),)
ASKED = {"question": QUESTION, "document": "log.txt", "date": "2026-11-26T12:00:00+00:00", "evidence": EVIDENCE}


@pytest.fixture(scope="module")
def run() -> RunResult:
    request = RunRequest(DOCUMENT, QUESTION, CONFIG, max_new_tokens=6, ignore_eos=True)
    engine = SlimEngine(tiny_loaded())
    timed = replace(RunResult.of(engine.compare(request)), again=((0.5, 0.25), (0.4, 0.3)))
    assert timed.pruned.cache, "the test is to cover a run whose KV is partly on the host"
    return timed


def read(data: Mapping[str, Any] | bytes) -> RunFile:
    content = data if isinstance(data, bytes) else json_bytes(data)
    return RunFile.read(Fields.of(json.loads(content)))


def test_a_saved_run_gives_the_same_figures(run: RunResult) -> None:
    back = read(run_json(run, CONFIG, "tiny", ASKED))
    assert (back.config, back.model, back.question, back.document) == (CONFIG, "tiny", QUESTION, "log.txt")
    assert back.date is not None
    assert back.date.isoformat() == ASKED["date"]
    assert back.evidence == EVIDENCE
    for drawn in (cards_html, compare_html, replay_html):
        assert drawn(back.run) == drawn(run)
    once, again = (run_figures(each, CONFIG, EVIDENCE) for each in (run, back.run))
    assert {name: png_bytes(figure) for name, figure in again.items()} == {
        name: png_bytes(figure) for name, figure in once.items()
    }
    tables = [run_tables(each, CONFIG, once) for each in (run, back.run)]
    for each in tables:
        del each["document"]  # its text is not in the file
    assert tables[0] == tables[1]
    maps = [kept_html(KeptMap.from_side(each.pruned, CONFIG, EVIDENCE)) for each in (run, back.run)]
    assert maps[0] == maps[1]
    assert picture_png(back.run, CONFIG, "tiny", QUESTION) == picture_png(run, CONFIG, "tiny", QUESTION)
    assert race_gif(back.run, "tiny", QUESTION) == race_gif(run, "tiny", QUESTION)


def test_saving_once_more_gives_the_same_data(run: RunResult) -> None:
    data = run.to_dict("tiny", CONFIG)
    for side in ("full", "pruned"):
        data[side].pop("cache", None)
    assert json_bytes(read(data).run.to_dict("tiny", CONFIG)) == json_bytes(data)


def test_what_older_files_lack_is_left_out(run: RunResult) -> None:
    data = run.to_dict("tiny", CONFIG)
    del data["question_tokens"], data["timing"]
    for side in ("full", "pruned"):
        del data[side]["pieces"], data[side]["token_at"]
    back = read(data)
    assert (back.question, back.date, back.evidence, back.run.again) == ("", None, (), ())
    assert replay_html(back.run) == ""
    assert cards_html(back.run) != cards_html(RunResult())
    assert compare_html(back.run)
    assert run_figures(back.run, CONFIG).keys() >= {"time_to_first_token", "memory", "speed_up", "kept_tokens"}


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("prompt_tokens",), 10**12, "prompt_tokens is no whole number"),
        (("prompt_tokens",), True, "prompt_tokens"),
        (("config", "block_size"), 0, "block_size"),
        (("config", "colour"), "red", "config cannot be run"),
        (("full",), None, "no finished run of the full model"),
        (("pruned",), {"error": "no memory"}, "no finished run of the pruned model"),
        (("pruned", "ttft_s"), -1, "pruned.ttft_s is no number"),
        (("pruned", "pieces"), ["a"], "not of one length"),
        (("pruned", "token_at"), [3, 2, 1, 0, 0, 0], "back in time"),
        (("pruned", "tokens_per_layer"), [], "is empty"),
        (("pruned", "kept", 0, "ranges"), [[0, 8], [4, 12]], "ranges"),
        (("pruned", "kept", 0, "ranges"), [[0, 10**9]], "ranges"),
        (("pruned", "kept", 0, "tokens"), 7, "not those of its tokens"),
        (("pruned", "kept", 1, "layer"), 2, "do not rise"),
        (("speedup", "kv_bytes"), 0, "speedup.kv_bytes"),
        (("fidelity", "agreement"), None, "fidelity.agreement"),
        (("timing", "pairs"), [[1, 1], [1]], "no pair"),
        (("asked",), {"date": "yesterday"}, "asked.date"),
        (("asked",), {"question": ["x"]}, "asked.question"),
        (("question_tokens",), [9, 3], "question_tokens"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(
    run: RunResult, place: Sequence[Any], value: Any, words: str
) -> None:
    data = json.loads(run_json(run, CONFIG, "tiny", ASKED))
    put(data, place, value)
    with pytest.raises(FileError, match=words) as caught:
        read(data)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 400


def test_more_than_a_page_can_draw_is_refused(run: RunResult) -> None:
    data = json.loads(run_json(run, CONFIG, "tiny", ASKED))
    data["prompt_tokens"] = 4_000_000
    with pytest.raises(FileError, match="more than this page can draw"):
        read(data)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_whatever_stands_in_a_file_it_is_drawn_or_refused(run: RunResult, data: st.DataObject) -> None:
    told = json.loads(run_json(run, CONFIG, "tiny", ASKED))
    for _ in range(data.draw(st.integers(1, 3))):
        put(told, data.draw(st.sampled_from(list(places(told)))), data.draw(ANYTHING))
    try:
        back = read(told)
    except FileError:
        return  # any other error fails the test
    assert cards_html(back.run)
    assert compare_html(back.run)
    replay_html(back.run)
    for figure in run_figures(back.run, back.config, back.evidence).values():
        figure.html()  # type: ignore[union-attr]
    kept_html(KeptMap.from_side(back.run.pruned, back.config, back.evidence))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a JSON document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*at, key)
        yield from places(each, (*at, key))


def put(data: Any, place: Sequence[Any], value: Any) -> None:
    """Set the value at the end of such a way."""
    for key in place[:-1]:
        data = data[key]
    data[place[-1]] = value
