"""Stored results on the Methods tab: accuracy against time as it was evaluated, with the visitor's run beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from sliminfer.tasks.scoring import contains_answer
from viz.figures.methods import KV, Outcome, accuracy_chart
from viz.figures.stored import Study, nearest, studies
from viz.figures.words import plural
from viz.page import curve
from viz.page.curve import Curve
from viz.page.model_picker import title_of
from viz.page.session import Visitor
from viz.page.site import Site

NEAREST = -1  # instead of an index


@dataclass(frozen=True)
class StoredView:
    """The components, over the evaluations they show."""

    site: Site
    found: tuple[Study, ...]
    group: gr.Group
    chosen: gr.Dropdown
    plot: Curve
    memory: Curve

    @property
    def outputs(self) -> list[Any]:
        return [*self.plot.outputs, *self.memory.outputs]

    @property
    def openable(self) -> list[Any]:
        """What `opened` updates."""
        return [self.group, self.chosen, *self.outputs]

    def drawn(self, visitor: Visitor, index: int | None) -> dict[Any, Any]:
        """Updates that show an evaluation, with the visitor's last run if it has one."""
        if index is None:
            return gr.skip()
        study, yours = self._study(visitor, index), your_run(self.site, visitor)
        chart = accuracy_chart(study.outcomes, yours, study.join)
        opened = visitor.studies is not None and study in visitor.studies.studies
        told = f"Opened from {visitor.studies.name}" if visitor.studies is not None and opened else "Stored"
        noted = replace(chart, note=f"{chart.note} {told}: {study.source}{_about(visitor, yours)}")
        known = [outcome for outcome in study.outcomes if math.isfinite(outcome.kv_bytes)]
        if not known:
            return {**self.plot.drawn(noted), **self.memory.cleared()}
        return {**self.plot.drawn(noted), **self.memory.drawn(accuracy_chart(known, yours, study.join, KV))}

    def opened(self, visitor: Visitor) -> dict[Any, Any]:
        """Updates that offer the evaluations of a file that was opened, behind the stored ones, and show the first."""
        assert visitor.studies is not None
        first = len(self.found)
        behind = [
            (f"{study.title}, opened from {visitor.studies.name}", first + at)
            for at, study in enumerate(visitor.studies.studies)
        ]
        chosen = gr.Dropdown([*choices(self.found), *behind], value=first)
        return {self.group: gr.Group(visible=True), self.chosen: chosen, **self.drawn(visitor, first)}

    def _study(self, visitor: Visitor, index: int) -> Study:
        own = () if visitor.studies is None else visitor.studies.studies
        known = (*self.found, *own)
        if 0 <= index < len(known):
            return known[index]
        metrics = visitor.run.view.pruned.metrics
        return nearest(self.found, self.site.start.model, None if metrics is None else metrics.prompt_tokens)


def build(site: Site) -> StoredView:
    """Lay it out, empty until the tab is opened."""
    found = studies(site.benchmarks) + (() if site.measured is None else studies(site.measured))
    with gr.Group(elem_classes="choices", visible=bool(found)) as group:
        chosen = gr.Dropdown(
            choices(found), value=NEAREST if found else None,
            label="Stored evaluation", info="Compared with your last run below.", elem_id="stored",
        )  # fmt: skip
    return StoredView(site, found, group, chosen, curve.build("stored-accuracy"), curve.build("stored-memory"))


def choices(found: tuple[Study, ...]) -> list[tuple[str, int]]:
    """What can be chosen of `found`, by its index."""
    nearest_one = [("nearest to your prompt in length", NEAREST)] if found else []
    return [*nearest_one, *((study.title, at) for at, study in enumerate(found))]


def your_run(site: Site, visitor: Visitor) -> Outcome | None:
    """The pruned side of the visitor's last run; its accuracy is known for a suggested question only."""
    metrics, setup = visitor.run.view.pruned.metrics, visitor.ran
    if metrics is None or setup is None:
        return None
    example = site.example(setup.example)
    suggestion = None if example is None else example.suggestion(setup.question)
    accuracy = math.nan if suggestion is None else contains_answer(visitor.run.view.pruned.text, suggestion.answer)
    return Outcome("your run", title_of(setup.model), accuracy, metrics.ttft_s, metrics.prompt_kv.total_device)


def _about(visitor: Visitor, yours: Outcome | None) -> str:
    """What the visitor's mark stands for; empty where there is none."""
    metrics = visitor.run.view.pruned.metrics
    if yours is None or metrics is None:
        return " Run something, and it is marked here."
    judged = "" if math.isfinite(yours.accuracy) else ", by its time alone, since nobody knows its right answer"
    return f" Your run: {yours.setting}, pruned, on {plural(metrics.prompt_tokens, 'token')}, on this machine{judged}."
