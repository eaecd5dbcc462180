"""The Compare tab: both answers as they grow, the finding in words, the figures, what was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import gradio as gr

from viz.figures.cards import cards_html
from viz.figures.compare import compare_html, repeats
from viz.figures.export import Figure
from viz.figures.replay import replay_html
from viz.figures.theme import script
from viz.figures.timing import timing_chart
from viz.page import ask_api, compare_api
from viz.page.desk import Desk
from viz.page.first_light import build_slot
from viz.page.kept import build_map
from viz.page.live import LiveRun
from viz.page.panes import pane, verdict
from viz.page.session import Visitor
from viz.page.site import Site
from viz.page.stream import ENGINE_QUEUE
from viz.page.tab import Moment, Tab, Updates

INTRO = (
    '<p class="verdict hint">Press <b>Run</b>: the full model reads the document and answers, then the same model '
    "does it again while dropping the blocks its own attention finds irrelevant to the question.</p>"
)


@dataclass(frozen=True)
class CompareTab(Tab):
    """The tab's components; `map` is the kept-token map at a glance."""

    id: ClassVar[str] = "compare"
    label: ClassVar[str] = "Compare"

    note: gr.HTML
    verdict: gr.HTML
    full: gr.HTML
    pruned: gr.HTML
    cards: gr.HTML
    map: gr.HTML
    details: gr.HTML
    replay: gr.HTML

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        blank = LiveRun()
        build_slot()
        note = gr.HTML("", elem_classes="note", apply_default_css=False)
        words = gr.HTML(INTRO, elem_id="verdict", apply_default_css=False)
        with gr.Row(elem_id="panes", equal_height=True):
            full = gr.HTML(pane(blank, "full"), elem_id="pane-full", apply_default_css=False, min_width=280)
            pruned = gr.HTML(pane(blank, "pruned"), elem_id="pane-pruned", apply_default_css=False, min_width=280)
        cards = gr.HTML(cards_html(blank.view), elem_id="cards", apply_default_css=False)
        picture = build_map(site.results, "glance-map", "")
        details = gr.HTML("", elem_id="details", apply_default_css=False)
        replay = gr.HTML("", elem_id="replay", apply_default_css=False, js_on_load=script("replay"))
        return cls(note, words, full, pruned, cards, picture, details, replay)

    @property
    def outputs(self) -> list[Any]:
        return [self.verdict, self.full, self.pruned, self.cards, self.map, self.details, self.replay]

    @property
    def notes(self) -> Mapping[str, Any]:
        return {"run": self.note}

    def cleared(self, visitor: Visitor) -> Updates:
        return {**self._updates(LiveRun(), figures=True), self.map: ""}

    def drawn(self, moment: Moment) -> Updates:
        visitor = moment.visitor
        model, expected = "" if visitor.ran is None else visitor.ran.model, visitor.expected
        if visitor.opened is not None:
            model, expected = visitor.opened.model, ""
        updates = self._updates(visitor.run, moment.figures, model, expected)
        return updates | {self.map: moment.map} if moment.stored is not None else updates

    @classmethod
    def figures(cls, visitor: Visitor) -> dict[str, Figure]:
        rounds = visitor.run.rounds
        found: dict[str, Figure] = {"time_repeated": repeats(*zip(*rounds, strict=True))} if len(rounds) > 1 else {}
        timing = visitor.run.timing
        return found if timing is None or len(timing.pairs) < 2 else {**found, "time_in_turn": timing_chart(timing)}

    def wire(self, desk: Desk) -> None:
        gr.api(compare_api.endpoint(desk.site), concurrency_id=ENGINE_QUEUE)
        gr.api(ask_api.endpoint(desk.site), concurrency_id=ENGINE_QUEUE)

    def _updates(self, live: LiveRun, figures: bool, model: str = "", expected: str = "") -> Updates:
        """Updates that show `live`; the cards only where `figures` are due."""
        updates: Updates = {self.full: pane(live, "full"), self.pruned: pane(live, "pruned")}
        if figures:
            updates[self.verdict] = verdict(live, model, expected) or INTRO
            updates[self.cards] = cards_html(live.view)
            if live.complete or live.view.full.prompt is None:
                updates[self.details] = compare_html(live.view) + _repeated(live)
                updates[self.replay] = replay_html(live.view)
        return updates


def _repeated(live: LiveRun) -> str:
    """Median and range over the rounds, and over all pairs with those that ran for the clock alone."""
    timing, rounds = live.timing, live.rounds
    asked = repeats(*zip(*rounds, strict=True)).html() if len(rounds) > 1 else ""
    return asked + (timing_chart(timing).html() if timing is not None and live.view.again else "")
