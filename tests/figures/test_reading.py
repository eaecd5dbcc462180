"""The figure of sparse reading: a bar for each layer that read less than all, or why none did."""

from __future__ import annotations

from dataclasses import replace

from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.figures.synthetic import long_prompt, run_of
from viz.figures.export import run_figures
from viz.figures.reading import blocks_read, reading_html

CONFIG = SlimConfig(steps=(PruneStep(3, 0.5),))


def finished() -> RunResult:
    return run_of(long_prompt(512), CONFIG, 6)


def test_a_bar_for_each_layer_that_read_less_than_all_and_a_row_for_each_layer() -> None:
    metrics = finished().pruned.metrics
    assert metrics is not None
    chart = blocks_read(replace(metrics, blocks_read=(0.25, 0.5, 0.25, 1.0, 1.0, 1.0)))
    assert chart is not None
    assert [bar.name for bar in chart.groups[0].bars] == ["layer 0", "layer 1", "layer 2"]
    assert all(abs(bar.length - 1) < 1e-9 for bar in chart.groups[0].bars)
    assert "33 %" in chart.note.replace("\u202f", " ").replace("\u00a0", " ").replace("33%", "33 %")
    assert len(chart.table.rows) == 6


def test_dense_reading_is_not_drawn_and_its_reason_is_told_where_sparse_was_asked_for() -> None:
    run = finished()
    metrics = run.pruned.metrics
    assert metrics is not None
    assert blocks_read(metrics) is None
    assert reading_html(metrics) == ""
    assert "too short &amp; dense" in reading_html(replace(metrics, dense_because="too short & dense"))
    assert "blocks_read" not in run_figures(run, CONFIG)
