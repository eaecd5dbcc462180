"""The Methods tab's choice among runs of the same name."""

from __future__ import annotations

from dataclasses import replace

from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import long_prompt, run_of
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
