"""The Methods tab: the methods on offer, and the choice among runs of the same name."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sliminfer import selectors
from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import long_prompt, run_of
from tests.page.serving import served
from tests.page.visit import Visit
from tests.selectors.plugin import install, keynorm
from tests.tiny import tiny_model, tiny_tokenizer
from viz.page.methods import fastest
from viz.page.shelf import Shelf

RUN = run_of(long_prompt(1024), SlimConfig.preset("paper", 12), 12)


def timed(seconds: float) -> SideResult:
    assert RUN.full.finished is not None
    metrics = replace(RUN.full.finished.metrics, ttft_s=seconds)
    return replace(RUN.full, ended=replace(RUN.full.finished, metrics=metrics))


def test_the_faster_of_two_runs_of_one_name_counts() -> None:
    slow, quick, other, unfinished = timed(3.0), timed(1.0), timed(2.0), SideResult("full")
    names = ["full", "random", "full"]
    assert fastest(names, []) == {}
    assert fastest(names, [slow]) == {"full": slow}
    assert fastest(names, [slow, other, quick]) == {"full": quick, "random": other}
    assert fastest(names, [quick, other, slow]) == {"full": quick, "random": other}
    assert fastest(["full", "full"], [unfinished, slow]) == {"full": slow}


def test_a_page_with_a_draft_can_compare_methods_that_need_one(tmp_path: Path) -> None:
    for name, layers in (("model", 3), ("draft", 1)):
        tiny_model(layers=layers).save_pretrained(tmp_path / name)
        tiny_tokenizer().save_pretrained(tmp_path / name)
    shelf = Shelf(device="cpu", draft=str(tmp_path / "draft"))
    draft = shelf.engine(str(tmp_path / "model")).outside.draft
    shelf.close()
    assert draft is not None
    assert draft.loaded.layers == 1


def test_an_installed_method_is_offered_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, keynorm())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(selectors, "_METHODS", dict(selectors._METHODS))
    monkeypatch.delitem(sys.modules, "keynorm", raising=False)
    with served(tmp_path) as page:
        visit = Visit(page.url)
        parts = {part["props"].get("elem_id"): part["props"] for part in visit.config["components"]}
        offered = [name for name, _ in parts["methods"]["choices"]]
        assert offered == [*selectors.baselines(), *(name for name in selectors.available() if name != "full")]
        assert offered[-1] == "keynorm"
        assert "arXiv 2406.11430" in parts["methods-table"]["value"]
        visit.choose(methods=["keynorm"])
        visit.join(visit.event("compare-methods")).raise_for_status()
        said = [message for message in visit.stream() if message["msg"] == "process_completed"]
    assert said[-1]["success"]
    told = str(said[-1]["output"])
    assert "Done: 1 method at" in told
    assert '<th scope="row">keynorm</th>' in told
