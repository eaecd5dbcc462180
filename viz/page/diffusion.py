"""The Diffusion tab: how what one passage says spreads through the prompt, measured on the visitor's document."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import gradio as gr

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.result import DiffusionResult
from sliminfer.engine.request import RunRequest
from sliminfer.errors import SlimError
from sliminfer.schedule.blocks import Span
from viz.figures.diffusion import attention_chart, finding, removal_chart, similarity_grid
from viz.figures.export import Figure
from viz.figures.words import escape, plural
from viz.page import curve, diffusion_api, stored_diffusion
from viz.page.asking import asked, beats
from viz.page.controls import Controls
from viz.page.curve import Curve
from viz.page.desk import QUIET, Desk
from viz.page.kept import KeptTab
from viz.page.panes import status
from viz.page.passage import find_passage
from viz.page.run_bar import RunBar
from viz.page.session import Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.stored_diffusion import StoredDiffusionView
from viz.page.stream import ENGINE_QUEUE, plain_message
from viz.page.tab import Tab, Updates
from viz.page.zero import probing

CURVES_PERIOD_S = 2.0  # a curve is remounted whole, so it may change only now and then
LONGEST_QUOTE = 160  # characters
TAKE_SELECTION = "() => window.slimSelection ?? ''"
HINT = (
    '<p class="hint">SlimInfer rests on one observation: what a passage says spreads to other positions on the way '
    "through the layers, so that the passage itself can be dropped later. Choose a passage and see from which layer on "
    "this model can do without it. For a suggested question the passage that holds the answer is taken; any other can "
    "be typed here, or selected in the document of the Kept tokens tab.</p>"
)


@dataclass(frozen=True)
class DiffusionTab(Tab):
    """The tab's components; `stored` shows what was measured on whole models before."""

    id: ClassVar[str] = "diffusion"
    label: ClassVar[str] = "Diffusion"

    phrase: gr.Textbox
    picked: gr.State
    every: gr.Checkbox
    take: gr.Button
    start: gr.Button
    note: gr.HTML
    words: gr.HTML
    attention: Curve
    removal: Curve
    map: gr.HTML
    stored: StoredDiffusionView

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        gr.HTML(HINT, apply_default_css=False)
        phrase = gr.Textbox(
            label="Passage", placeholder="Leave empty for the passage that answers a suggested question", lines=1,
            max_lines=3, elem_id="phrase",
        )  # fmt: skip
        every = gr.Checkbox(
            label="Remove it at every layer", elem_id="every-layer",
            info="Otherwise at as many layers, against as many random draws, as take this machine about a minute.",
        )  # fmt: skip
        with gr.Row(elem_id="diffusion-buttons"):
            start = gr.Button("Measure diffusion", size="sm", scale=0, elem_id="measure-diffusion")
            take = gr.Button("Take the text selected in the document", size="sm", scale=0, elem_id="take-selection")
        with gr.Column(elem_classes="belonging"):
            note = gr.HTML("", elem_classes="note", apply_default_css=False)
            words = gr.HTML("", elem_id="diffusion-words", apply_default_css=False)
            removal = curve.build("curve-removal")
            attention = curve.build("curve-attention")
            picture = gr.HTML("", elem_id="similarity", apply_default_css=False)
        stored = stored_diffusion.build(site)
        return cls(phrase, gr.State(None), every, take, start, note, words, attention, removal, picture, stored)

    @classmethod
    def figures(cls, visitor: Visitor) -> dict[str, Figure]:
        if visitor.spread is None or visitor.spread[0] is not visitor.document:
            return {}
        result = visitor.spread[1]
        return {
            "diffusion_removal": removal_chart(result),
            "diffusion_attention": attention_chart(result),
            "diffusion_map": similarity_grid(result),
        }

    @property
    def notes(self) -> Mapping[str, Any]:
        return {"diffusion": self.note}

    def wire(self, desk: Desk) -> None:
        events = DiffusionEvents(desk.site, desk.controls, desk.bar, self)
        drawings = [self.note, self.words, *self.removal.outputs, *self.attention.outputs, self.map]
        desk.study(self.start.click, events.run, events.inputs, drawings)
        self.take.click(None, None, self.phrase, js=TAKE_SELECTION, **QUIET)
        kept = desk.find(KeptTab)
        if kept is not None:
            kept.text.pick(events.pick, desk.visitor, [self.phrase, self.picked], queue=False, **QUIET)
        view, model = self.stored, self.stored.chosen
        if view.found:
            gr.on([desk.opened(self), model.input], view.drawn, model, view.outputs, queue=False, **QUIET)
        gr.api(diffusion_api.endpoint(desk.site), concurrency_id=ENGINE_QUEUE)


@dataclass(frozen=True)
class DiffusionEvents:
    """The callback of "Measure diffusion"."""

    site: Site
    controls: Controls
    bar: RunBar
    tab: DiffusionTab

    @property
    def inputs(self) -> list[Any]:
        tab = self.tab
        return [tab.phrase, tab.picked, tab.every, self.controls.document.paste, *self.controls.inputs]

    def pick(self, visitor: Visitor, event: gr.EventData) -> Updates:
        """Text was selected in the document of the last run: it becomes the passage, at that very place."""
        prompt = visitor.run.view.pruned.prompt
        if prompt is None or visitor.document is None:
            return gr.skip()
        spans = [span for span in prompt.document_spans()[event.start : event.end] if span is not None]
        if not spans:
            return gr.skip()
        picked = (spans[0][0], spans[-1][1])
        return {self.tab.phrase: visitor.document.text[slice(*picked)].strip(), self.tab.picked: picked}

    def run(
        self, visitor: Visitor, request: gr.Request, phrase: str, picked: Span | None, every: bool, pasted: str,
        *values: Any,
    ) -> Iterator[Updates]:  # fmt: skip
        """Measure, showing what is known as it comes."""
        try:
            setup, wanted = asked(self.site, self.controls, visitor, pasted, values)
            passage = find_passage(wanted.document, phrase or "", visitor.evidence, picked)
        except SlimError as error:
            yield {self.bar.status: status(str(error), "error")}
            return
        document, session = visitor.document, str(request.session_hash)
        flag = self.site.stops.begin(session)
        result: DiffusionResult | None = None
        drawn_at, last = 0.0, ""

        def start() -> Generator[DiffusionResult]:
            return self._results(setup, wanted, passage, every)

        def drawn(known: DiffusionResult | None) -> Updates:
            return self._drawn(known, setup.model, wanted.document[slice(*passage)])

        visitor.belongs["diffusion"] = visitor.asks(setup)
        yield {**self.bar.busy("Measuring diffusion: preparing …"), self.tab.note: ""}
        try:
            for beat in beats(self.site, session, flag, start):
                if beat.items:
                    result = beat.items[-1]
                due = beat.figures and time.monotonic() - drawn_at > CURVES_PERIOD_S
                drawn_at = time.monotonic() if due else drawn_at
                yield {self.bar.status: status(_progress(result), "busy"), **(drawn(result) if due else {})}
        except Exception as error:  # whatever it was, the visitor gets a sentence and a working page
            last = status(plain_message(error), "error")
        if not last and result is not None:
            if document is not None:
                visitor.spread = document, result
            last = status(_progress(result, under_way=False), "done" if result.done >= result.total else "ready")
        yield {self.bar.status: last or status("Stopped."), **drawn(result), **self.bar.idle()}

    def _results(self, setup: Setup, wanted: RunRequest, passage: Span, every: bool) -> Generator[DiffusionResult]:
        engine = self.site.shelf.engine(setup.model)
        prompt = engine.prepare(wanted).prompt
        depth = engine.loaded.layers
        plan = DiffusionPlan.for_model(engine.loaded, len(prompt), self.site.probe_flops)
        if every:
            plan = DiffusionPlan.every_layer(depth)
        yield from probing(engine, prompt, prompt.token_range(*passage), plan)

    def _drawn(self, result: DiffusionResult | None, model: str, passage: str) -> Updates:
        if result is None:
            return {}
        return {
            self.tab.words: finding(result) + self._about(result, model, passage),
            **self.tab.removal.drawn(removal_chart(result)),
            **self.tab.attention.drawn(attention_chart(result)),
            self.tab.map: similarity_grid(result).html(),
        }

    def _about(self, result: DiffusionResult, model: str, passage: str) -> str:
        """What is measured: passage, answer, number of probes."""
        loaded = self.site.shelf.loaded(model)
        answer = loaded.tokenizer.decode(result.answer).strip() if loaded is not None else ""
        start, end = result.span
        removed = sum(end - start for start, end in result.removed)
        shown = passage if len(passage) <= LONGEST_QUOTE else passage[:LONGEST_QUOTE] + " …"
        says = f"The full model’s answer begins “{escape(answer)}”. " if answer else ""
        return (
            f'<p class="about">Passage: “{escape(" ".join(shown.split()))}”, tokens {start:,} to {end:,} of '
            f"{result.tokens:,}. {says}{plural(result.probes, 'probe')}: the {plural(removed, 'token')} of its blocks "
            f"removed from each of {plural(len(result.removed_layers), 'layer')} on, as many random ones "
            f"{plural(result.draws, 'time')} each, and the passage’s left out of the input.</p>"
        )


def _progress(result: DiffusionResult | None, under_way: bool = True) -> str:
    if result is None:
        return "Measuring diffusion: preparing …"
    start, end = result.span
    what = f"the passage of {plural(end - start, 'token')} at position {start:,}"
    made = f"{result.done:,} of {result.total:,} layer runs"
    if under_way:
        return f"Measuring the diffusion of {what}: {made}."
    if result.done < result.total:
        return f"Stopped measuring the diffusion of {what} after {made}."
    return f"Done: diffusion of {what}, by {plural(result.probes, 'probe')} in {result.total:,} layer runs."
