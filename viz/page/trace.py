"""Where was it lost: the full model's answer is asked what it attends to, and what pruning dropped of that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from sliminfer.diffusion.answer import Floats, answer_attention, answer_overlap, kept_by_layer
from sliminfer.diffusion.losses import losses
from sliminfer.engine.engine import SlimEngine
from sliminfer.errors import ConfigError, SlimError
from sliminfer.model.prompts import Prompt
from viz.figures.trace import losses_html, overlap_chart
from viz.page import curve
from viz.page.asking import beats
from viz.page.curve import Curve
from viz.page.desk import Desk
from viz.page.live import LiveRun
from viz.page.panes import status
from viz.page.run_bar import RunBar
from viz.page.session import Visitor
from viz.page.site import Site
from viz.page.stream import plain_message
from viz.page.tab import Updates
from viz.page.zero import BorrowingEngine


@dataclass(frozen=True)
class TraceView:
    """The button, the finding in words and the chart."""

    start: gr.Button
    words: gr.HTML
    chart: Curve

    @property
    def outputs(self) -> list[Any]:
        return [self.words, *self.chart.outputs]

    def cleared(self) -> Updates:
        """Updates that show nothing."""
        return {self.words: "", **self.chart.cleared()}


def build() -> TraceView:
    """Lay the button out, with room for what it finds."""
    start = gr.Button("Where was it lost?", size="sm", scale=0, elem_id="trace")
    words = gr.HTML("", elem_id="trace-words", apply_default_css=False)
    return TraceView(start, words, curve.build("trace-chart"))


def wire(view: TraceView, desk: Desk) -> None:
    """The button's event."""
    desk.study(view.start.click, TraceEvents(desk.site, desk.bar, view).run, [], view.outputs)


@dataclass(frozen=True)
class TraceEvents:
    """The callback."""

    site: Site
    bar: RunBar
    view: TraceView

    def run(self, visitor: Visitor, request: gr.Request) -> Iterator[Updates]:
        """Read the prompt once more with the full model's answer behind it."""
        live, setup = visitor.run, visitor.ran
        try:
            if live.complete and not visitor.ran_here:
                raise ConfigError("The last run is of another document: press Run first.")
            prompt, answer = asked_of(live)
        except SlimError as error:
            yield {self.bar.status: status(str(error), "error")}
            return
        assert setup is not None
        session = str(request.session_hash)
        flag, attended = self.site.stops.begin(session), list[Floats]()
        last = ""

        def start() -> Iterator[Floats]:
            yield from attention(self.site.shelf.engine(setup.model), prompt, answer)

        yield self.bar.busy("Asking the answer what it attends to …")
        try:
            for beat in beats(self.site, session, flag, start):
                attended += [on_token.astype(np.float32) for on_token in beat.items]
                layers = live.view.full.layers
                words = f"Asking the answer what it attends to: layer {len(attended)} of {layers}."
                yield {self.bar.status: status(words, "busy")}
        except Exception as error:  # whatever it was, the visitor gets a sentence and a working page
            last = status(plain_message(error), "error")
        if len(attended) < live.view.full.layers:
            yield {self.bar.status: last or status("Stopped."), **self.bar.idle()}
            return
        done = status("Done: what the answer attends to, and what was kept of it.", "done")
        found = drawn(self.view, live, attended) if visitor.ran_here else {}
        yield {self.bar.status: done, **found, **self.bar.idle()}


def attention(engine: SlimEngine, prompt: Prompt, answer: tuple[int, ...]) -> Iterator[Floats]:
    """`answer_attention` where this process has the device; raises ConfigError where it only borrows one."""
    if isinstance(engine, BorrowingEngine):
        raise ConfigError("A lent GPU cannot be asked what the answer attends to: run the page on a machine of yours.")
    yield from answer_attention(engine, prompt, answer)


def asked_of(live: LiveRun) -> tuple[Prompt, tuple[int, ...]]:
    """Prompt and full answer of a finished run. Raises ConfigError where there is none, or nothing was pruned."""
    full, pruned = live.view.full, live.view.pruned
    if full.prompt is None or full.metrics is None or pruned.metrics is None:
        raise ConfigError("There is no finished run to look into: press Run first.")
    if not pruned.pruned:
        raise ConfigError("Nothing was dropped in this run, so nothing was lost: prune more, or take a longer text.")
    return full.prompt, full.metrics.token_ids


def drawn(view: TraceView, live: LiveRun, attended: list[Floats]) -> Updates:
    """What was found, in words and over the layers."""
    full, pruned = live.view.full, live.view.pruned
    prompt = full.prompt
    assert prompt is not None
    steps = pruned.pruned
    size = steps[0].block_size
    forced = [at for block in steps[0].forced for at in range(block * size, min(len(prompt), (block + 1) * size))]
    overlap = answer_overlap(attended, kept_by_layer(steps, full.layers, len(prompt)), forced)
    text = prompt.text[slice(*prompt.document)]
    changed = full.text.strip() != pruned.text.strip()
    return {
        view.words: losses_html(losses(attended, steps, prompt), text, changed),
        **view.chart.drawn(overlap_chart(overlap, [step.layer for step in steps])),
    }
