"""Result files that come back: a run and an evaluation open as what they were, anything else is one sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import long_prompt, run_of
from viz.figures.export import json_bytes
from viz.figures.kept_map import KeptMap
from viz.figures.opened import NO_RESULT, OpenedRun, OpenedStudies, open_result
from viz.figures.stored import FOLDER, studies

CONFIG = SlimConfig.preset("paper", 12)
RUN = run_of(long_prompt(1024), CONFIG, 12)
ASKED = {"question": "Where is <b>it</b>?", "document": "a.txt", "date": "2026-01-02T03:04:05+00:00"}
FILE: dict[str, Any] = json.loads(json_bytes({"asked": ASKED, **RUN.to_dict("some-model", CONFIG)}))


def opened(**changes: Any) -> OpenedRun:
    found = open_result(json.dumps({**FILE, **changes}).encode())
    assert isinstance(found, OpenedRun)
    return found


def test_a_run_opens_as_what_it_was() -> None:
    found = opened()
    wanted = KeptMap.from_side(RUN.pruned, CONFIG)
    assert np.array_equal(found.kept_map().alive, wanted.alive)
    assert found.kept_map().tokens_per_layer == wanted.tokens_per_layer
    assert found.full.text == RUN.full.text
    shown = found.html()
    assert "some-model" in shown
    assert "a.txt" in shown
    assert "What was kept in the opened run" in shown
    assert "Where is &lt;b&gt;it&lt;/b&gt;?" in shown


def test_a_file_of_the_command_line_has_no_question_and_opens_as_well() -> None:
    bare = {name: value for name, value in FILE.items() if name != "asked"}
    assert isinstance(open_result(json.dumps(bare).encode()), OpenedRun)


def test_an_evaluation_opens_as_the_studies_that_it_is() -> None:
    path = FOLDER / "eval_demo_1k.json"
    found = open_result(path.read_bytes())
    assert isinstance(found, OpenedStudies)
    stored = [study for study in studies(FOLDER) if study.model == found.studies[0].model]
    accuracies = [outcome.accuracy for outcome in found.studies[0].outcomes]
    assert accuracies in [[outcome.accuracy for outcome in study.outcomes] for study in stored]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prompt_tokens": -1}, "prompt_tokens"),
        ({"prompt_tokens": 10**9}, "prompt_tokens"),
        ({"model": ["x"]}, "model"),
        ({"full": {"text": "x"}}, "full.ttft_s"),
        ({"pruned": {**FILE["pruned"], "ttft_s": 1e300}}, "pruned.ttft_s"),
        ({"pruned": {**FILE["pruned"], "kept": [{"layer": 99, "ranges": []}]}}, "ascending layers"),
        ({"pruned": {**FILE["pruned"], "kept": [{"layer": 4, "ranges": [[5, 2]]}]}}, "ascending positions"),
        ({"pruned": {**FILE["pruned"], "kept": [{"layer": 4, "ranges": [[0, 99999]]}]}}, "ascending positions"),
    ],
)
def test_a_damaged_run_is_refused_in_a_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match="cannot be shown") as refused:
        open_result(json.dumps({**FILE, **changes}).encode())
    assert told in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"{}", b"\xff\xfe", b'{"config": {}}', b"[" * 100_000])
def test_what_is_no_result_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ConfigError) as refused:
        open_result(data)
    assert str(refused.value) == NO_RESULT


def test_a_file_beyond_the_limit_is_not_even_read() -> None:
    with pytest.raises(ConfigError, match="no result has more"):
        open_result(b" " * 4_000_001)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["results", "full", "pruned", "asked", "model", "prompt_tokens"]), VALUES))
def test_nothing_but_a_sentence_comes_of_any_file(changes: dict[str, Any]) -> None:
    try:
        found = open_result(json.dumps({**FILE, **changes}).encode())
    except ConfigError:
        return
    assert found.html() if isinstance(found, OpenedRun) else found.studies
