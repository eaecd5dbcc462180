"""A chart on the page: its caption above, the Plotly drawing, its table below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from viz.figures.chart import Chart
from viz.figures.plotly_chart import plotly_figure


@dataclass(frozen=True)
class Curve:
    """The components of one chart."""

    caption: gr.HTML
    plot: gr.Plot
    table: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.caption, self.plot, self.table]

    def drawn(self, chart: Chart) -> dict[Any, Any]:
        """Updates that show `chart`."""
        return {
            self.caption: chart.caption(),
            self.plot: gr.Plot(plotly_figure(chart), visible=True),
            self.table: f'<div class="fig">{chart.table.details()}</div>',
        }

    def cleared(self) -> dict[Any, Any]:
        """Updates that show nothing."""
        return {self.caption: "", self.plot: gr.Plot(visible=False), self.table: ""}


def build(elem_id: str) -> Curve:
    """Lay a chart out, empty."""
    caption = gr.HTML("", apply_default_css=False)
    plot = gr.Plot(visible=False, show_label=False, container=False, elem_id=elem_id)
    return Curve(caption, plot, gr.HTML("", apply_default_css=False))
