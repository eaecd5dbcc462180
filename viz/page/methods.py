"""The Methods tab: several pruning methods on the visitor's document, at one budget, on one clock."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import gradio as gr

from sliminfer.documents import Document
from sliminfer.engine.events import Event, Side
from sliminfer.engine.metrics import Comparison
from sliminfer.engine.request import RunRequest
from sliminfer.engine.side_result import SideResult
from sliminfer.errors import ConfigError, SlimError
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors import available, baselines, published, selector_class
from viz.figures.export import Figure
from viz.figures.kept_map import KeptMap
from viz.figures.methods import MethodRun, methods_grid, methods_table
from viz.figures.table import Table
from viz.figures.words import escape, plural
from viz.page import stored
from viz.page.asking import asked, beats
from viz.page.controls import Controls
from viz.page.desk import QUIET, Desk
from viz.page.kept import token_evidence
from viz.page.panes import status
from viz.page.run_bar import RunBar
from viz.page.session import Rivals, Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.stored import StoredView
from viz.page.stream import plain_message
from viz.page.tab import Tab, Updates

MOST = 6
FIRST = ("sliminfer", "fastkv", "streaming", "random")
NEEDS_EVIDENCE = "oracle"
HINT = (
    '<p class="hint">The same document and question under several pruning methods, each with its own schedule, solved '
    "so that all of them save the same arithmetic. What differs then is what they keep, and what it costs. The full "
    "model runs before and after them; its faster run counts.</p>"
)


@dataclass(frozen=True)
class MethodsTab(Tab):
    """The tab's components; `stored` shows what was evaluated before."""

    id: ClassVar[str] = "methods"
    label: ClassVar[str] = "Methods"

    chosen: gr.CheckboxGroup
    speedup: gr.Slider
    start: gr.Button
    note: gr.HTML
    table: gr.HTML
    strips: gr.HTML
    stored: StoredView

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        with gr.Group(elem_classes="choices"):
            chosen = gr.CheckboxGroup(
                [(name, name) for name in (*baselines(), *available()) if name != "full"], value=list(FIRST),
                label="Methods, up to six", elem_id="methods",
                info="oracle needs a suggested question, specprefill and sliminfer-draft a draft (--draft MODEL).",
            )  # fmt: skip
            speedup = gr.Slider(1.25, 4, value=2, step=0.25, label="FLOP speed-up that every method is solved for")
        start = gr.Button("Compare methods", size="sm", scale=0, elem_id="compare-methods")
        with gr.Column(elem_classes="belonging"):
            note = gr.HTML("", elem_classes="note", apply_default_css=False)
            table = gr.HTML(HINT + papers(), elem_id="methods-table", apply_default_css=False)
            strips = gr.HTML("", elem_id="methods-strips", apply_default_css=False)
        return cls(chosen, speedup, start, note, table, strips, stored.build(site))

    @classmethod
    def figures(cls, visitor: Visitor) -> dict[str, Figure]:
        rivals = _of_document(visitor)
        return {} if rivals is None else {"methods_kept": rivals.strips}

    @classmethod
    def tables(cls, visitor: Visitor) -> dict[str, Table]:
        rivals = _of_document(visitor)
        return {} if rivals is None else {"methods": rivals.table}

    @property
    def notes(self) -> Mapping[str, Any]:
        return {"methods": self.note}

    def wire(self, desk: Desk) -> None:
        events = MethodsEvents(desk.site, desk.controls, desk.bar, self)
        desk.study(self.start.click, events.run, events.inputs, [self.note, self.table, self.strips])
        view, evaluation = self.stored, self.stored.chosen
        gr.on(
            [desk.opened(self), evaluation.input], view.drawn, [desk.visitor, evaluation], view.outputs, queue=False,
            **QUIET,
        )  # fmt: skip
        desk.after_run(view.drawn, [evaluation], view.outputs)


def _of_document(visitor: Visitor) -> Rivals | None:
    """The last comparison, if it was made on the document at hand."""
    rivals = visitor.rivals
    return rivals if rivals is not None and rivals.document is visitor.document else None


def papers() -> str:
    """Where each method comes from."""
    listed = "".join(
        f"<dt>{name}</dt><dd>{escape(selector_class(name).paper)}</dd>"
        for name in (*baselines(), *available())
        if name != "full"
    )
    return f'<dl class="papers">{listed}</dl>'


@dataclass(frozen=True)
class MethodsEvents:
    """The callback of "Compare methods"."""

    site: Site
    controls: Controls
    bar: RunBar
    tab: MethodsTab

    @property
    def inputs(self) -> list[Any]:
        return [self.tab.chosen, self.tab.speedup, self.controls.document.paste, *self.controls.inputs]

    def run(
        self, visitor: Visitor, request: gr.Request, chosen: list[str], speedup: float, pasted: str, *values: Any
    ) -> Iterator[Updates]:
        """Run the full model, each method, and the full model again; the table grows by a row after each."""
        try:
            setup, wanted = asked(self.site, self.controls, visitor, pasted, values)
            check_choice(chosen, visitor)
        except SlimError as error:
            yield {self.bar.status: status(str(error), "error")}
            return
        session = str(request.session_hash)
        flag = self.site.stops.begin(session)
        document, names = visitor.document, ["full", *chosen, "full"]
        done: list[SideResult] = []
        configs: dict[str, SlimConfig] = {}
        at = SideResult("full")
        last = status(f"Done: {plural(len(chosen), 'method')} at {speedup:g} times less arithmetic.", "done")

        def start() -> Iterator[Event]:
            return self._events(setup, wanted, chosen, speedup, configs)

        visitor.belongs["methods"] = visitor.asks(setup)
        cleared = {self.tab.note: "", self.tab.strips: ""}
        yield {**self.bar.busy("Solving every method for the same arithmetic …"), **cleared}
        try:
            for beat in beats(self.site, session, flag, start):
                for event in beat.items:
                    at = at.after(event)
                    if at.error:
                        raise ConfigError(at.error)
                    if at.metrics is not None:
                        done.append(at)
                now = min(len(done), len(names) - 1)
                turn = f"{names[now]}, run {now + 1} of {len(names)}"
                words = f"{turn}: layer {at.layers_done} of {at.layers}."
                yield {
                    self.bar.status: status(words, "busy"),
                    **self._drawn(visitor, document, fastest(names, done), configs, beat.figures),
                }
        except Exception as error:  # whatever it was, the visitor gets a sentence and a working page
            last = status(plain_message(error), "error")
        if len(done) < len(names) and "error" not in last:
            last = status(f"Stopped after {len(done)} of {len(names)} runs.")
        drawn = self._drawn(visitor, document, fastest(names, done), configs, True)
        yield {self.bar.status: last, **drawn, **self.bar.idle()}

    def _events(
        self, setup: Setup, wanted: RunRequest, chosen: list[str], speedup: float, configs: dict[str, SlimConfig]
    ) -> Iterator[Event]:
        """A full run, one pruned run a method and a full run; fills `configs` with the solved settings before all.

        The first run of a series is slowed down by a browser that still draws, on a machine that it shares.
        """
        engine = self.site.shelf.engine(setup.model)
        ready = engine.prepare(wanted)
        shape = engine.loaded.shape
        for name in chosen:
            published_one = published(name, shape.layers, setup.model, shape.seeing)
            own = wanted.config if name == wanted.config.method else published_one
            configs[name] = engine.at_budget(ready, own, speedup)
        full: Side = "full"
        yield from engine.run(ready, full)
        for name in chosen:
            yield from engine.run(ready.under(configs[name]), "pruned")
        yield from engine.run(ready, full)

    def _drawn(
        self,
        visitor: Visitor,
        document: Document | None,
        finished: Mapping[str, SideResult],
        configs: Mapping[str, SlimConfig],
        due: bool,
    ) -> Updates:
        """Table and strips of what has finished, where figures are due."""
        full = finished.get("full")
        if not due or full is None or full.metrics is None:
            return {}
        runs, maps = [], {}
        for name, side in finished.items():
            if side.metrics is None or side.prompt is None:
                continue
            own = None if name == "full" else Comparison.of(full.metrics, side.metrics)
            runs.append(MethodRun(name, side.metrics, side.text, own))
            if name != "full":
                maps[name] = KeptMap.from_side(side, configs[name], token_evidence(side.prompt, visitor.evidence))
        table = methods_table(runs)
        updates: Updates = {self.tab.table: f'<div class="fig fig-scroll" tabindex="0">{table.html()}</div>'}
        if maps and document is not None:
            strips = methods_grid(maps)
            visitor.rivals = Rivals(document, table, strips)
            updates[self.tab.strips] = strips.html()
        return updates


def fastest(names: list[str], done: list[SideResult]) -> dict[str, SideResult]:
    """The run with the shortest TTFT under each of `names`, which may come twice, as far as they are `done`."""
    found: dict[str, SideResult] = {}
    for name, side in zip(names, done, strict=False):
        found[name] = min(found.get(name, side), side, key=_ttft)
    return found


def _ttft(side: SideResult) -> float:
    return math.inf if side.metrics is None else side.metrics.ttft_s


def check_choice(chosen: list[str], visitor: Visitor) -> None:
    """Raise ConfigError for a choice of methods that cannot be run."""
    if not 1 <= len(chosen) <= MOST:
        raise ConfigError(f"{len(chosen)} methods are chosen: choose one to {MOST}.")
    if NEEDS_EVIDENCE in chosen and not visitor.evidence:
        raise ConfigError("The oracle must know where the answer stands: take a suggested question, or leave it out.")
