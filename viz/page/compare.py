"""The Compare tab: both answers as they grow, the finding in words, the figures, what was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from viz.figures.cards import cards_html
from viz.figures.compare import compare_html, repeats
from viz.figures.replay import replay_html
from viz.figures.theme import script
from viz.page.kept import build_map
from viz.page.live import LiveRun
from viz.page.panes import pane, verdict
from viz.page.session import ResultStore

INTRO = (
    '<p class="verdict hint">Press <b>Run</b>: the full model reads the document and answers, then the same model '
    "does it again while dropping the blocks its own attention finds irrelevant to the question.</p>"
)


@dataclass(frozen=True)
class CompareTab:
    """The tab's components; `map` is drawn by the Kept tokens tab's callbacks."""

    verdict: gr.HTML
    full: gr.HTML
    pruned: gr.HTML
    cards: gr.HTML
    map: gr.HTML
    details: gr.HTML
    replay: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.verdict, self.full, self.pruned, self.cards, self.details, self.replay]

    def updates(self, live: LiveRun, figures: bool) -> dict[Any, Any]:
        """Updates that show `live`; the cards only where `figures` are due."""
        updates: dict[Any, Any] = {self.full: pane(live, "full"), self.pruned: pane(live, "pruned")}
        if figures:
            updates[self.verdict] = verdict(live) or INTRO
            updates[self.cards] = cards_html(live.view)
            if live.complete or live.view.full.prompt is None:
                updates[self.details] = compare_html(live.view) + _repeated(live)
                updates[self.replay] = replay_html(live.view)
        return updates


def _repeated(live: LiveRun) -> str:
    """Median and spread over the rounds; empty for a single one."""
    if len(live.rounds) < 2:
        return ""
    full, pruned = zip(*live.rounds, strict=True)
    return repeats(full, pruned).html()


def build(store: ResultStore) -> CompareTab:
    """Lay the tab out, before any run."""
    blank = LiveRun()
    words = gr.HTML(INTRO, elem_id="verdict", apply_default_css=False)
    with gr.Row(elem_id="panes", equal_height=True):
        full = gr.HTML(pane(blank, "full"), elem_id="pane-full", apply_default_css=False, min_width=280)
        pruned = gr.HTML(pane(blank, "pruned"), elem_id="pane-pruned", apply_default_css=False, min_width=280)
    cards = gr.HTML(cards_html(blank.view), elem_id="cards", apply_default_css=False)
    picture = build_map(store, "glance-map", "")
    details = gr.HTML("", elem_id="details", apply_default_css=False)
    replay = gr.HTML("", elem_id="replay", apply_default_css=False, js_on_load=script("replay"))
    return CompareTab(words, full, pruned, cards, picture, details, replay)
