"""What all tabs are told: a run that was there before the visitor is shown by each of them at once."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from sliminfer.engine.request import RunRequest
from sliminfer.schedule.config import PruneStep
from tests.page.serving import LAYERS, QUESTION, Served, long_text
from viz.page import controls, run_bar
from viz.page.cache import HINT, CacheTab
from viz.page.compare import INTRO, CompareTab
from viz.page.document_input import read_paste
from viz.page.follow import Follow
from viz.page.kept import MAP_HINT, KeptTab
from viz.page.live import LiveRun
from viz.page.run_events import RunEvents
from viz.page.session import ResultStore, Visitor
from viz.page.tabs import TABS


def test_a_recorded_run_is_shown_whole_and_cleared_by_the_next(page: Served) -> None:
    site, text = page.site, long_text(20)
    setup = replace(site.start, question=QUESTION, steps=(PruneStep(4, 0.5),), active=0.5, refresh=1)
    live = LiveRun()
    for event in site.shelf.engine(setup.model).compare(RunRequest(text, QUESTION, setup.config(), max_new_tokens=6)):
        live = live.after(event)
    visitor = Visitor(document=read_paste(text), ran=setup, key=ResultStore.new_key(), run=live)
    with gr.Blocks():
        chosen = controls.build(site.start, LAYERS, site.examples, "", site.offers(1), 8)
        bar = run_bar.build("Ready.")
        tabs = [tab.build(site, visitor) for tab in TABS]
    events = RunEvents(site, chosen, bar, tabs, Follow(site, chosen, tabs))
    compare, kept, _, _, cache, *_ = tabs
    assert isinstance(compare, CompareTab)
    assert isinstance(kept, KeptTab)
    assert isinstance(cache, CacheTab)

    shown = events.shown(visitor)
    assert set(shown) <= set(events.outputs)
    assert live.view.comparison is not None
    assert "began to answer" in shown[compare.verdict]
    assert visitor.key in shown[compare.map]
    assert shown[kept.map] == shown[compare.map]
    assert "fig doc" in shown[kept.text]
    assert "<figure" in shown[cache.residency]

    cleared = {part: value for tab in tabs for part, value in tab.cleared(visitor).items()}
    assert set(cleared) <= set(events.outputs)
    assert (cleared[compare.verdict], cleared[compare.map]) == (INTRO, "")
    assert cleared[kept.map] == MAP_HINT
    assert kept.text not in cleared  # the document stands
    assert cleared[cache.residency] == HINT
