"""The Diffusion tab: how what one passage says spreads through the prompt, measured on the visitor's document."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.blocks import Span
from sliminfer.diffusion import DiffusionPlan, DiffusionResult, probe
from sliminfer.engine import RunRequest
from sliminfer.errors import ConfigError, SlimError
from viz.figures.chart import Chart
from viz.figures.diffusion import attention_chart, removal_chart, similarity_grid
from viz.figures.plotly_chart import plotly_figure
from viz.page.asking import asked, beats
from viz.page.controls import Controls
from viz.page.panes import status
from viz.page.run_events import RunBar
from viz.page.session import Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.stream import plain_message

CURVES_PERIOD_S = 2.0  # a curve is remounted whole, so it may change only now and then
TAKE_SELECTION = "() => window.slimSelection ?? ''"
HINT = (
    '<p class="hint">SlimInfer rests on one observation: what a passage says spreads to other positions on the way '
    "through the layers, so that the passage itself can be dropped later. Choose a passage and see from which layer on "
    "this model can do without it. For a suggested question the passage that holds the answer is taken; any other can "
    "be typed here, or selected in the document of the Kept tokens tab.</p>"
)

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Curve:
    """A chart with its caption above and its table below."""

    caption: gr.HTML
    plot: gr.Plot
    table: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.caption, self.plot, self.table]

    def drawn(self, chart: Chart) -> Updates:
        """Updates that show `chart`."""
        return {
            self.caption: chart.caption(),
            self.plot: gr.Plot(plotly_figure(chart), visible=True),
            self.table: f'<div class="fig">{chart.table.details()}</div>',
        }


@dataclass(frozen=True)
class DiffusionTab:
    """The tab's components."""

    phrase: gr.Textbox
    take: gr.Button
    start: gr.Button
    attention: Curve
    removal: Curve
    map: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [*self.removal.outputs, *self.attention.outputs, self.map]


def build() -> DiffusionTab:
    """Lay the tab out, before any measurement."""
    gr.HTML(HINT, apply_default_css=False)
    phrase = gr.Textbox(
        label="Passage", placeholder="Leave empty for the passage that answers a suggested question", lines=1,
        max_lines=3, elem_id="phrase",
    )  # fmt: skip
    with gr.Row(elem_id="diffusion-buttons"):
        start = gr.Button("Measure diffusion", size="sm", scale=0, elem_id="measure-diffusion")
        take = gr.Button("Take the text selected in the document", size="sm", scale=0, elem_id="take-selection")
    removal = _curve("removal")
    attention = _curve("attention")
    picture = gr.HTML("", elem_id="similarity", apply_default_css=False)
    return DiffusionTab(phrase, take, start, attention, removal, picture)


def _curve(name: str) -> Curve:
    caption = gr.HTML("", apply_default_css=False)
    plot = gr.Plot(visible=False, show_label=False, container=False, elem_id=f"curve-{name}")
    return Curve(caption, plot, gr.HTML("", apply_default_css=False))


def find_passage(text: str, phrase: str, evidence: tuple[Span, ...]) -> Span:
    """Characters of `text` that `phrase` stands for: its first place, else the evidence where it is empty.

    White space and case need not agree. Raises ConfigError where there is no such passage.
    """
    words = phrase.split()
    if not words:
        if not evidence:
            raise ConfigError("No passage is chosen: type some of the document's words, or take a suggested question.")
        return evidence[0]
    found = re.search(r"\s+".join(map(re.escape, words)), text, re.IGNORECASE)
    if found is None:
        raise ConfigError("The passage is not in the document: copy some of its words exactly.")
    return found.start(), found.end()


@dataclass(frozen=True)
class DiffusionEvents:
    """The callback of "Measure diffusion"."""

    site: Site
    controls: Controls
    bar: RunBar
    tab: DiffusionTab

    @property
    def inputs(self) -> list[Any]:
        return [self.tab.phrase, self.controls.document.paste, *self.controls.inputs]

    def run(self, visitor: Visitor, request: gr.Request, phrase: str, pasted: str, *values: Any) -> Iterator[Updates]:
        """Measure, showing what is known as it comes."""
        try:
            setup, wanted = asked(self.site, self.controls, visitor, pasted, values)
            passage = find_passage(wanted.document, phrase or "", visitor.evidence)
        except SlimError as error:
            yield {self.bar.status: status(str(error), "error")}
            return
        session = str(request.session_hash)
        flag = self.site.stops.begin(session)
        result: DiffusionResult | None = None
        drawn_at, last = 0.0, ""

        def start() -> Generator[DiffusionResult]:
            return self._results(setup, wanted, passage)

        yield self.bar.busy("Measuring diffusion: preparing …")
        try:
            for beat in beats(self.site, session, flag, start):
                if beat.items:
                    result = beat.items[-1]
                due = beat.figures and time.monotonic() - drawn_at > CURVES_PERIOD_S
                drawn_at = time.monotonic() if due else drawn_at
                yield {self.bar.status: status(_progress(result), "busy"), **(self._drawn(result) if due else {})}
        except Exception as error:  # whatever it was, the visitor gets a sentence and a working page
            last = status(plain_message(error), "error")
        if not last and result is not None:
            complete = result.done >= result.total
            last = status(_progress(result, complete), "done" if complete else "ready")
        yield {self.bar.status: last or status("Stopped."), **self._drawn(result), **self.bar.idle()}

    def _results(self, setup: Setup, wanted: RunRequest, passage: Span) -> Generator[DiffusionResult]:
        engine = self.site.shelf.engine(setup.model)
        prompt = engine.prepare(wanted)
        plan = DiffusionPlan.within(engine.loaded.layers, len(prompt), self.site.probe_budget)
        yield from probe(engine, prompt, prompt.token_range(*passage), plan)

    def _drawn(self, result: DiffusionResult | None) -> Updates:
        if result is None:
            return {}
        return {
            **self.tab.removal.drawn(removal_chart(result)),
            **self.tab.attention.drawn(attention_chart(result)),
            self.tab.map: similarity_grid(result).html(),
        }


def _progress(result: DiffusionResult | None, complete: bool = False) -> str:
    if result is None:
        return "Measuring diffusion: preparing …"
    start, end = result.span
    what = f"the passage of {end - start} tokens at position {start:,}"
    if complete:
        return f"Done: diffusion of {what}, from {result.total:,} layer runs."
    return f"Measuring the diffusion of {what}: {result.done:,} of {result.total:,} layer runs."
