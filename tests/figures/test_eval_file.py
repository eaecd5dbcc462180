"""Somebody's evaluation file is shown as it stands or refused in one sentence, and its words stay words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.figures.test_run_file import ANYTHING, places, put
from viz.figures.export import png_bytes
from viz.figures.fields import FileError
from viz.figures.methods import KV, TTFT, accuracy_chart
from viz.figures.plotly_chart import plotly_figure
from viz.figures.stored import FOLDER, studies, studies_of

EVAL = json.loads((FOLDER / "eval_demo_1k.json").read_text(encoding="utf-8"))
MARKUP = "<img src=x onerror=alert(1)><a href='https://evil.example'>"


def small() -> dict[str, Any]:
    """An evaluation of two suites under two variants."""
    data = json.loads(json.dumps(EVAL))
    data["results"] = [row for row in data["results"] if row["suite"] in ("needle", "quote")][:6]
    return dict(data)


def test_every_file_that_ships_passes_the_check() -> None:
    files = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")]
    evaluations = [data for data in files if isinstance(data, dict) and "prompt_kv_bytes" in str(data.get("results"))]
    assert len(evaluations) >= 8
    assert sum(len(studies_of(data)) for data in evaluations) == len(studies(FOLDER))


def test_a_file_in_the_folder_that_fails_it_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(EVAL), encoding="utf-8")
    (tmp_path / "bad.json").write_text(json.dumps(EVAL | {"examples": "many"}), encoding="utf-8")
    assert studies(tmp_path) == studies_of(EVAL)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("results",), [], "no result"),
        (("results",), {}, "results is no list"),
        (("results", 0, "accuracy"), 1.5, r"results\[0\].accuracy"),
        (("results", 0, "context"), 0, "context"),
        (("results", 0, "method"), "", "method is empty"),
        (("variants", 0, "config"), {"steps": [{"layer": -1, "keep": 0.5}]}, "config cannot be run"),
        (("variants", 0, "config"), {"steps": 3}, "steps"),
        (("variants", 0, "config"), {"reading": "sparse", "reading_options": {"x": 1}}, "config cannot be run"),
        (("provenance",), [], "provenance"),
        (("model",), 3, "model"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(place: tuple[Any, ...], value: Any, words: str) -> None:
    data = small()
    put(data, place, value)
    with pytest.raises(FileError, match=words) as caught:
        studies_of(data)
    assert str(caught.value).endswith(".")


def test_more_methods_than_there_are_colours_are_refused() -> None:
    data = small()
    data["results"] = [data["results"][0] | {"method": f"m{n}", "variant": f"m{n}"} for n in range(40)]
    with pytest.raises(FileError, match="more than 20 methods"):
        studies_of(data)


def test_markup_in_a_file_stays_text() -> None:
    data = json.loads(json.dumps(small()))
    for place in list(places(data)):
        value = _at(data, place)
        if isinstance(value, str) and place[-1] != "reading":
            put(data, place, MARKUP + value)
    (study,) = studies_of(data)
    for cost in (TTFT, KV):
        chart = accuracy_chart(study.outcomes, join=study.join, cost=cost)
        drawn = plotly_figure(chart).to_json()
        assert "<img" not in drawn + chart.table.html() + chart.caption()
        assert "<a " not in drawn
        assert "&lt;img" in drawn


@given(st.data())
def test_whatever_stands_in_a_file_it_is_drawn_or_refused(data: st.DataObject) -> None:
    told = small()
    for _ in range(data.draw(st.integers(1, 3))):
        put(told, data.draw(st.sampled_from(list(places(told)))), data.draw(ANYTHING))
    try:
        found = studies_of(told)
    except FileError:
        return  # any other error fails the test
    for study in found:
        for cost in (TTFT, KV):
            chart = accuracy_chart(study.outcomes, join=study.join, cost=cost)
            plotly_figure(chart).to_json()
            assert png_bytes(chart)


def _at(data: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        data = data[key]
    return data
