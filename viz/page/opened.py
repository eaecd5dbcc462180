"""A result file that a visitor opens, or drops on the page: shown above the tabs until it is closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.errors import SlimError
from viz.figures.methods import accuracy_chart
from viz.figures.opened import OpenedRun, OpenedStudies, open_result
from viz.figures.words import escape
from viz.page import curve
from viz.page.curve import Curve
from viz.page.desk import QUIET
from viz.page.panes import status


@dataclass(frozen=True)
class OpenedView:
    """Where a result is shown."""

    column: gr.Column
    words: gr.HTML
    chart: Curve
    close: gr.Button

    @property
    def outputs(self) -> list[Any]:
        return [self.column, self.words, *self.chart.outputs]

    def wire(self, opener: gr.UploadButton, line: gr.HTML) -> None:
        """Shows what `opener` was given until it is closed; what is wrong with a file goes to the status `line`."""

        def take(data: bytes) -> dict[Any, Any]:
            try:
                found = open_result(data)
            except SlimError as error:
                return {line: status(str(error), "error")}
            return {line: status("Opened.", "done"), self.column: gr.Column(visible=True), **self._drawn(found)}

        def closed() -> dict[Any, Any]:
            return {self.column: gr.Column(visible=False), self.words: "", **self.chart.cleared()}

        opener.upload(take, opener, [line, *self.outputs], queue=False, **QUIET)
        self.close.click(closed, None, self.outputs, queue=False, **QUIET)

    def _drawn(self, found: OpenedRun | OpenedStudies) -> dict[Any, Any]:
        if isinstance(found, OpenedRun):
            return {self.words: found.html(), **self.chart.cleared()}
        study = found.studies[-1]
        chart = accuracy_chart(study.outcomes, None, study.join)
        tables = "".join(
            f'<p class="about">{escape(each.source)}</p><div class="fig">{table.details()}</div>'
            for each in found.studies[:-1]
            for table in (accuracy_chart(each.outcomes, None, each.join).table,)
        )
        return {
            self.words: f'<p class="about">Opened evaluation: {escape(study.source)}</p>{tables}',
            **self.chart.drawn(chart),
        }


def build() -> OpenedView:
    """Lay it out, hidden until something is opened."""
    with gr.Column(visible=False, elem_id="opened", elem_classes="choices") as column:
        words = gr.HTML("", elem_id="opened-words", apply_default_css=False)
        chart = curve.build("opened-chart")
        close = gr.Button("Close the opened result", size="sm", scale=0, elem_id="close-opened")
    return OpenedView(column, words, chart, close)
