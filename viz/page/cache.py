"""The Cache tab: where the blocks of the pruned prompt were while the answer was written.

A CPU has no second memory to copy to, so the times there come from the same plan on a simulated link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import gradio as gr
import numpy as np

from sliminfer.cache import CacheEvent, Link, Refresh, StagePlaced
from sliminfer.cache.timeline import Timeline, measured, replay
from sliminfer.engine.metrics import RunMetrics
from sliminfer.engine.side_result import SideResult
from viz.figures.export import Figure
from viz.figures.residency import bytes_chart, residency_grid
from viz.figures.words import seconds
from viz.page import curve, link_input
from viz.page.curve import Curve
from viz.page.desk import QUIET, Desk
from viz.page.live import LiveRun
from viz.page.session import Visitor
from viz.page.site import Site
from viz.page.tab import Moment, Tab, Updates

HINT = (
    '<p class="hint">While the answer is written, a part of the kept blocks can stay on the device and the rest wait '
    "on the host: <b>Working set</b> under <b>Decode memory</b> says how many. Here you see which blocks were where at "
    "each step. At 1, all of them stay and nothing moves.</p>"
)
# What "Run with half ..." sets: with a look at every step, a short answer too moves blocks.
HALF = {"active": 0.5, "refresh": 1}


@dataclass(frozen=True)
class CacheTab(Tab):
    """The tab's components."""

    id: ClassVar[str] = "cache"
    label: ClassVar[str] = "Cache"

    half: gr.Button
    note: gr.HTML
    link: gr.HTML
    residency: gr.HTML
    bytes: Curve

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        half = gr.Button(
            "Run with half of the kept blocks on the device, a look at every step", size="sm", scale=0, elem_id="half"
        )
        note = gr.HTML("", elem_classes="note", apply_default_css=False)
        link = link_input.build(first.link)
        residency = gr.HTML(HINT, elem_id="residency", apply_default_css=False)
        return cls(half, note, link, residency, curve.build("cache-bytes"))

    @property
    def outputs(self) -> list[Any]:
        return [self.link, self.residency, *self.bytes.outputs]

    @property
    def notes(self) -> Mapping[str, Any]:
        return {"run": self.note}

    def cleared(self, visitor: Visitor) -> Updates:
        return self._updates(LiveRun(), visitor.link)

    def drawn(self, moment: Moment) -> Updates:
        return self._updates(moment.visitor.run, moment.visitor.link) if moment.over else {}

    @classmethod
    def figures(cls, visitor: Visitor) -> dict[str, Figure]:
        timeline = timeline_of(visitor.run, visitor.link)
        return {} if timeline is None else {"residency": residency_grid(timeline), "kv_bytes": bytes_chart(timeline)}

    def wire(self, desk: Desk) -> None:
        settings = [desk.controls.settings[name] for name in HALF]
        desk.start_run(self.half.click(lambda: list(HALF.values()), None, settings, queue=False, **QUIET).then)
        self.link.change(self.relink, [desk.visitor, self.link], self.outputs, queue=False, **QUIET)

    def relink(self, visitor: Visitor, place: int) -> Updates:
        """The slider was let go: the same plan over another link."""
        visitor.link = link_input.link_at(place)
        return self._updates(visitor.run, visitor.link)

    def _updates(self, live: LiveRun, link: Link) -> Updates:
        """Updates that show the pruned side's cache, or the hint where there is nothing to show."""
        timeline = timeline_of(live, link)
        if timeline is None:
            return {self.link: gr.HTML(visible=False), self.residency: HINT, **self.bytes.cleared()}
        return {
            self.link: gr.HTML(visible=timeline.simulated, value=link_input.index_of(link), note=_note(live)),
            self.residency: still_html(live.view.pruned) + residency_grid(timeline).html(),
            **self.bytes.drawn(bytes_chart(timeline)),
        }


def still_html(pruned: SideResult) -> str:
    """Why no block moved while the answer was written, and what would make some move; empty where one did."""
    why = still(pruned.cache, len(pruned.piece_at))
    return f'<p class="hint">{why}</p>' if why else ""


def still(cache: Sequence[CacheEvent], answer_tokens: int) -> str:
    """The sentence of `still_html` for what a cache told of itself."""
    if any(isinstance(event, Refresh) and event.loads for event in cache):
        return ""
    waiting = [event for event in cache if isinstance(event, StagePlaced) and len(event.resident) < len(event.extents)]
    if not waiting:
        return (
            "Nothing moved: all kept blocks of this prompt are in the working set. Take a longer document, or a "
            "smaller working set."
        )
    kept, always = (sum(map(len, found)) for found in zip(*((e.extents, e.pinned) for e in waiting), strict=True))
    if all(set(event.resident) <= set(event.pinned) for event in waiting):
        return (
            f"Nothing moved: {always} of the {kept} blocks that pruning left always stay (the first, the question and "
            "the last), and they fill the working set. Take a longer document, such as the last of the examples."
        )
    return (
        f"Nothing moved: within {answer_tokens} tokens the answer looked at nothing else than what was there. Ask for "
        "a longer answer, or take a longer document."
    )


def timeline_of(live: LiveRun, link: Link) -> Timeline | None:
    """The pruned side's cache over the decode steps, on a CPU over `link`; None where there is nothing to show."""
    pruned = live.view.pruned
    if pruned.metrics is None or not pruned.cache:
        return None
    steps = len(pruned.metrics.token_at) - 1
    if pruned.metrics.device != "cpu" or not steps:
        return measured(pruned.cache, pruned.metrics.token_at)
    return replay(pruned.cache, steps, layer_seconds(live, pruned.metrics), link)


def layer_seconds(live: LiveRun, metrics: RunMetrics) -> float:
    """Seconds that one layer took for one token: a layer's share of the median decode step, copies left out."""
    timeline = measured(live.view.pruned.cache, metrics.token_at)
    return float(np.median((timeline.step_s - timeline.stall_s)[1:])) / len(metrics.tokens_per_layer)


def _note(live: LiveRun) -> str:
    metrics = live.view.pruned.metrics
    if metrics is None or len(metrics.token_at) < 2:
        return ""
    return (
        "Simulated: on a CPU nothing has to travel. The loads of this run are played over the chosen link, while each "
        f"layer computes for {seconds(layer_seconds(live, metrics))} a token, as it did here."
    )
