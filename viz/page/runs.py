"""The Runs tab: all runs on this document, and two of them over each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import gradio as gr

from viz.figures.export import Figure
from viz.figures.history import Row, history_chart
from viz.figures.overlap import overlap_grid
from viz.figures.words import escape
from viz.page import curve
from viz.page.curve import Curve
from viz.page.desk import AS_TYPED, Desk
from viz.page.past import Past, about, comparable
from viz.page.session import Visitor
from viz.page.site import Site
from viz.page.subject import schedule
from viz.page.tab import Moment, Tab, Updates

HINT = (
    '<p class="hint">Each finished run on this document becomes a point here. Change the pruning, or keep and drop '
    "passages by hand on the Kept tokens tab, run again, and lay two runs over each other.</p>"
)
ONE = '<p class="hint">Run the same question once more with another pruning: both are laid over each other here.</p>'
APART = '<p class="hint">These two have another question, model or document: choose two runs of one question.</p>'


@dataclass(frozen=True)
class RunsTab(Tab):
    """The tab's components: a chart of all runs, and two choices with what they have in common."""

    id: ClassVar[str] = "runs"
    label: ClassVar[str] = "Runs"

    hint: gr.HTML
    chart: Curve
    row: gr.Row
    a: gr.Dropdown
    b: gr.Dropdown
    over: gr.HTML

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        hint = gr.HTML(HINT, elem_id="runs-hint", apply_default_css=False)
        chart = curve.build("runs-chart")
        with gr.Row(visible=False, elem_id="runs-choice") as row:
            a, b = (gr.Dropdown([], label=f"Pruning {name}", elem_id=f"runs-{name.lower()}") for name in "AB")
        return cls(hint, chart, row, a, b, gr.HTML("", elem_id="runs-over", apply_default_css=False))

    @property
    def outputs(self) -> list[Any]:
        return [self.hint, *self.chart.outputs, self.row, self.a, self.b, self.over]

    def taken(self, visitor: Visitor) -> Updates:
        return self._shown(about(visitor.history, visitor.document))

    def drawn(self, moment: Moment) -> Updates:
        return self._shown(about(moment.visitor.history, moment.visitor.document)) if moment.over else {}

    @classmethod
    def figures(cls, visitor: Visitor) -> dict[str, Figure]:
        runs = about(visitor.history, visitor.document)
        if len(runs) < 2:
            return {}
        found: dict[str, Figure] = {"runs": history_chart(rows(runs))}
        before = [past for past in runs[:-1] if comparable(past, runs[-1])]
        return {**found, "runs_over_each_other": _over(before[-1], runs[-1])} if before else found

    def wire(self, desk: Desk) -> None:
        for part in (self.a, self.b):
            part.input(self.compared, [desk.visitor, self.a, self.b], self.over, queue=False, **AS_TYPED)

    def compared(self, visitor: Visitor, a: Any, b: Any) -> str:
        """Two runs were chosen, by number."""
        runs = {past.number: past for past in about(visitor.history, visitor.document)}
        if a not in runs or b not in runs:
            return ""
        return over_html(runs[a], runs[b])

    def _shown(self, runs: Sequence[Past]) -> Updates:
        if not runs:
            hidden = {self.row: gr.Row(visible=False), self.hint: HINT, self.over: ""}
            return {**hidden, **self.chart.cleared()}
        choices = [(past.label, past.number) for past in runs]
        last = runs[-1]
        alike = [past for past in runs[:-1] if comparable(past, last)]
        first = alike[-1] if alike else last
        return {
            self.hint: "",
            **self.chart.drawn(history_chart(rows(runs))),
            self.row: gr.Row(visible=len(runs) > 1),
            self.a: gr.Dropdown(choices, value=first.number),
            self.b: gr.Dropdown(choices, value=last.number),
            self.over: over_html(first, last) if alike else ONE,
        }


def rows(runs: Sequence[Past]) -> list[Row]:
    """The runs as the figure takes them."""
    return [
        Row(
            past.number, past.subject.setup.question, schedule(past.subject.setup) + past.subject.hands.words,
            past.flops, past.kv, past.agreement, past.text,
        )
        for past in runs
    ]  # fmt: skip


def over_html(a: Past, b: Past) -> str:
    """Both answers, and what both kept, over each other."""
    if not comparable(a, b):
        return APART
    answers = "".join(
        f"<dt>{name}, run {past.number}</dt><dd>{escape(past.text.strip()) or DASH_ANSWER}</dd>"
        for name, past in (("A", a), ("B", b))
    )
    return f'<dl class="papers">{answers}<dt>Full model</dt><dd>{escape(b.full.strip())}</dd></dl>{_over(a, b).html()}'


DASH_ANSWER = "<em>No text.</em>"


def _over(a: Past, b: Past) -> Any:
    return overlap_grid(a.kept, b.kept, ("A", "B"))
