"""Commands on a suite that leaves examples out: they say so, count what they asked, refuse where nothing is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sliminfer.cli import app
from sliminfer.errors import SlimError
from sliminfer.evaluate import catalogue
from sliminfer.tasks.real import RealSuite
from tests.tasks.made_real import TEXT, made, row

LEFT_OUT = "real at 900 tokens leaves out 2 of 6 examples: the document is longer than the context"


class Made(RealSuite):
    """Six questions, the third and the fourth of them about a document that is too long."""

    def __init__(self, data: Path, tokenizer: Any) -> None:
        texts = {"a": TEXT, "b": TEXT + "A", "c": TEXT * 9, "d": TEXT * 9 + "D", "e": TEXT + "E", "f": TEXT + "F"}
        self.__dict__ = made(data, texts, [row(name) for name in texts]).__dict__


@pytest.fixture
def asked(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setattr(catalogue, "RealSuite", Made)
    return [
        "--model", model_folder, "--device", "cpu", "--dtype", "float32", "--suite", "real", "--data", tmp_path,
        "--examples", 10, "--json", tmp_path / "result.json",
    ]  # fmt: skip


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=False)


def test_eval_says_what_it_leaves_out_and_averages_the_rest(asked: list[object], tmp_path: Path) -> None:
    shown = invoke("eval", *asked, "--context", 900, "--methods", "sliminfer", "--prune", "3:0.5")
    assert LEFT_OUT in shown.stderr
    data = json.loads((tmp_path / "result.json").read_text())
    assert [row["examples"] for row in data["results"]] == [4, 4]
    [left] = data["left_out"]
    assert (left["suite"], left["context"], left["examples"], left["of"]) == ("real", 900, 2, 6)


def test_eval_refuses_a_context_that_holds_no_document(asked: list[object]) -> None:
    with pytest.raises(SlimError, match=r"No example of real can be asked at 200 tokens: choose a larger --context"):
        invoke("eval", *asked, "--context", 200)


def test_tune_searches_and_confirms_on_halves_of_what_is_asked(asked: list[object], tmp_path: Path) -> None:
    preset = tmp_path / "tuned.json"
    invoke("tune", *asked, "--context", 900, "--agreement", 0.01, "--keep", 0.9, "--layers", 3, "--preset", preset)
    assert json.loads(preset.read_text())["tuned"]["claim"]["fresh_examples"] == 2
