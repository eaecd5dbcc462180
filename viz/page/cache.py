"""The Cache tab: where the blocks of the pruned prompt were while the answer was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from sliminfer.cache.timeline import Timeline, measured
from viz.figures.plotly_chart import plotly_figure
from viz.figures.residency import bytes_chart, residency_grid
from viz.page.live import LiveRun

HINT = (
    '<p class="hint">While the answer is written, a part of the kept blocks can stay on the device and the rest wait '
    "on the host: <b>Decode working set</b> in the settings says how many. Here you see which blocks were where at "
    "each step. At 1, all of them stay and nothing moves.</p>"
)


@dataclass(frozen=True)
class CacheTab:
    """The tab's components."""

    half: gr.Button
    residency: gr.HTML
    caption: gr.HTML
    bytes: gr.Plot
    table: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.residency, self.caption, self.bytes, self.table]

    def updates(self, live: LiveRun) -> dict[Any, Any]:
        """Updates that show the pruned side's cache, or the hint where there is nothing to show."""
        timeline = timeline_of(live)
        if timeline is None:
            return {self.residency: HINT, self.caption: "", self.bytes: gr.Plot(visible=False), self.table: ""}
        chart = bytes_chart(timeline)
        figure: go.Figure = plotly_figure(chart)
        return {
            self.residency: residency_grid(timeline).html(),
            self.caption: chart.caption(),
            self.bytes: gr.Plot(figure, visible=True),
            self.table: f'<div class="fig">{chart.table.details()}</div>',
        }


def build() -> CacheTab:
    """Lay the tab out, before any run."""
    half = gr.Button("Run with half of the kept blocks on the device", size="sm", scale=0, elem_id="half")
    residency = gr.HTML(HINT, elem_id="residency", apply_default_css=False)
    caption = gr.HTML("", apply_default_css=False)
    picture = gr.Plot(visible=False, show_label=False, container=False, elem_id="cache-bytes")
    table = gr.HTML("", apply_default_css=False)
    return CacheTab(half, residency, caption, picture, table)


def timeline_of(live: LiveRun) -> Timeline | None:
    """The pruned side's cache over the decode steps; None before it has finished."""
    pruned = live.view.pruned
    if pruned.metrics is None or not pruned.cache:
        return None
    return measured(pruned.cache, pruned.metrics.token_at)
