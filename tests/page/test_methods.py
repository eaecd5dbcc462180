"""The Methods tab: the methods on offer, and the choice among runs of the same name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from sliminfer import selectors
from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import long_prompt, run_of
from tests.page.serving import Served
from tests.selectors.plugin import install, keynorm
from viz.page import layout
from viz.page.methods import fastest

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


def test_an_installed_method_is_among_the_choices(
    page: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, keynorm())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(selectors, "_METHODS", dict(selectors._METHODS))
    parts = layout.build(page.site).blocks.values()
    (chosen,) = (part for part in parts if isinstance(part, gr.CheckboxGroup) and part.elem_id == "methods")
    assert [name for name, _ in chosen.choices] == [name for name in selectors.available() if name != "full"]
    assert chosen.choices[-1] == ("keynorm", "keynorm")
    (papers,) = (part for part in parts if isinstance(part, gr.HTML) and part.elem_id == "methods-table")
    assert "arXiv 2406.11430" in papers.value
