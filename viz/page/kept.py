"""The kept-token map and the document with its marks, linked: what was dropped, where, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import gradio as gr

from sliminfer.engine.side_result import SideResult
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.document import document_html
from viz.figures.kept import cell, panel_html
from viz.figures.kept_map import KeptMap
from viz.figures.theme import script
from viz.figures.words import escape
from viz.page import hands_input, trace
from viz.page.desk import Desk
from viz.page.hands import NO_HANDS, Hands
from viz.page.hands_input import HINT, HandsInput, hands_html
from viz.page.session import ResultStore, StoredMap, Visitor
from viz.page.site import Site
from viz.page.tab import Moment, Tab, Updates
from viz.page.trace import TraceView

MAP_HINT = '<p class="hint">The map of kept tokens appears here once the pruned model reads the prompt.</p>'
WIDEST_TILE = 4096  # columns; more than any screen shows, and a bound on what one call may cost


@dataclass(frozen=True)
class KeptTab(Tab):
    """The map and the document below it."""

    id: ClassVar[str] = "kept"
    label: ClassVar[str] = "Kept tokens"

    note: gr.HTML
    trace: TraceView
    map: gr.HTML
    hands: HandsInput
    text: gr.HTML

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        note = gr.HTML("", elem_classes="note", apply_default_css=False)
        asked = trace.build()
        picture = build_map(site.results, "kept-map", MAP_HINT)
        hands = hands_input.build()
        text = "" if first.document is None else first.document.text
        document = gr.HTML(
            plain_document(text), elem_id="document-text", apply_default_css=False, js_on_load=script("document")
        )
        return cls(note, asked, picture, hands, document)

    @property
    def outputs(self) -> list[Any]:
        return [self.note, *self.trace.outputs, self.map, *self.hands.outputs, self.text]

    @property
    def notes(self) -> Mapping[str, Any]:
        return {"kept": self.note}

    def taken(self, visitor: Visitor) -> Updates:
        text = "" if visitor.document is None else visitor.document.text
        visitor.belongs.pop("kept", None)
        blank = {self.note: "", self.map: MAP_HINT, self.hands.list: HINT, **self.trace.cleared()}
        return {**blank, self.text: plain_document(text)}

    def cleared(self, visitor: Visitor) -> Updates:
        return {self.map: MAP_HINT, **self.trace.cleared()}

    def wire(self, desk: Desk) -> None:
        hands_input.wire(self.hands, self.text, desk.site.results, desk)
        trace.wire(self.trace, desk)

    def drawn(self, moment: Moment) -> Updates:
        if moment.stored is not None and moment.visitor.opened is not None:  # a file has no text, and tokens of its own
            own = moment.visitor.document
            unmarked = plain_document("" if own is None else own.text)
            return {self.map: moment.map, self.text: unmarked, **self.trace.cleared()}
        if moment.stored is None or not moment.visitor.ran_here:  # another document stands here by now
            return {}
        if not moment.over:
            return {self.map: moment.map}
        settled = {self.hands.list: hands_html(moment.visitor)}  # its tokens are those of the prompt at hand
        return {self.map: moment.map, self.text: text_html(moment.stored), **settled}  # long, so once, at the end


def build_map(store: ResultStore, elem_id: str, value: str) -> gr.HTML:
    """A kept-token map whose zoom and pointer ask `store` through server functions."""

    def kept_panel(call: dict[str, Any]) -> str:
        stored = store.get(str(call["key"]))
        if stored is None:
            return ""
        width = min(max(1, int(call["width"])), WIDEST_TILE)
        return panel_html(stored.kept, int(call["start"]), int(call["end"]), width)

    def kept_cell(call: dict[str, Any]) -> dict[str, Any] | None:
        stored = store.get(str(call["key"]))
        if stored is None:
            return None
        return dict(cell(stored.kept, stored.prompt, int(call["layer"]), int(call["position"])))

    return gr.HTML(
        value, elem_id=elem_id, apply_default_css=False, js_on_load=script("kept"),
        server_functions=[kept_panel, kept_cell],
    )  # fmt: skip


def stored_map(
    side: SideResult, config: SlimConfig, evidence: tuple[Span, ...], hands: Hands = NO_HANDS
) -> StoredMap:
    """The map of a side so far; evidence and what was settled by hand are character spans of the document."""
    prompt = side.prompt
    if prompt is None:
        raise ValueError("the side has no prompt yet: draw its map after PromptReady")
    settled = (token_evidence(prompt, hands.keep), token_evidence(prompt, hands.drop))
    return StoredMap(KeptMap.from_side(side, config, token_evidence(prompt, evidence), settled), prompt)


def token_evidence(prompt: Prompt, evidence: tuple[Span, ...]) -> tuple[Span, ...]:
    """Character spans of the document as token ranges of the prompt."""
    return tuple(prompt.token_range(start, end) for start, end in evidence)


def text_html(stored: StoredMap) -> str:
    """The document with its marks."""
    return document_html(stored.kept, stored.prompt)


def plain_document(text: str) -> str:
    """The document before any run."""
    if not text.strip():
        return '<p class="hint">The document appears here.</p>'
    return (
        '<figure class="fig doc"><figcaption><strong>The document</strong> What the pruned model drops is '
        'marked after a run.</figcaption><div class="doc-text" tabindex="0" role="region" '
        f'aria-label="The document"><div class="doc-chunk">{escape(text)}</div></div></figure>'
    )
