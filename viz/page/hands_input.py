"""Keeping and dropping by hand: a click on a block of the marked document, or text that is selected in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span
from viz.figures.theme import script
from viz.figures.words import escape, plural
from viz.page.desk import AS_TYPED, Desk
from viz.page.hands import Hands
from viz.page.session import ResultStore, Visitor
from viz.page.tab import Updates

FIND, TURN = "find", "turn"
LONGEST = 90  # characters of a passage that is listed
MOST = 100  # passages that are settled: each is looked up in the prompt again whenever the map is drawn
SHOWN = 6  # passages that are listed of each kind
HINT = (
    '<p class="about">After a run: choose <b>keep or drop</b> and click a block of the text, or select words and press '
    "a button. The next run keeps to it.</p>"
)


@dataclass(frozen=True)
class HandsInput:
    """What a click does, three buttons, and the list of what was settled."""

    mode: gr.Radio
    keep: gr.Button
    drop: gr.Button
    free: gr.Button
    list: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.list]


def build() -> HandsInput:
    """Lay the controls out."""
    with gr.Row(elem_id="hands-tools"):
        mode = gr.Radio(
            [("Click: find in the map", FIND), ("Click: keep or drop", TURN)], value=FIND, show_label=False,
            container=False, elem_id="hands-mode", elem_classes="segmented", label="What a click on the text does",
        )  # fmt: skip
        keep = gr.Button("Always keep the selection", size="sm", scale=0, elem_id="hands-keep")
        drop = gr.Button("Always drop it", size="sm", scale=0, elem_id="hands-drop")
        free = gr.Button("Leave all to the method", size="sm", scale=0, elem_id="hands-free")
    listed = gr.HTML(HINT, elem_id="hands", apply_default_css=False, js_on_load=script("hands"))
    return HandsInput(mode, keep, drop, free, listed)


def wire(hands: HandsInput, text: gr.HTML, results: ResultStore, desk: Desk) -> None:
    """The events; `text` is the marked document, and `results` holds the map of the visitor's run."""
    events = HandsEvents(hands, results)
    quiet = {"queue": False, **AS_TYPED}
    text.pick(events.pick, desk.visitor, None, **quiet)
    changes = [
        text.hit(events.hit, [desk.visitor, hands.mode], hands.outputs, **quiet),
        hands.keep.click(events.keep, desk.visitor, hands.outputs, **quiet),
        hands.drop.click(events.drop, desk.visitor, hands.outputs, **quiet),
        hands.free.click(events.free, desk.visitor, hands.outputs, **quiet),
    ]
    desk.changes.extend(change.then for change in changes)


@dataclass(frozen=True)
class HandsEvents:
    """The callbacks."""

    hands: HandsInput
    results: ResultStore

    def pick(self, visitor: Visitor, event: gr.EventData) -> None:
        """Text was selected: the buttons are about it from now on."""
        prompt = visitor.run.view.pruned.prompt
        if prompt is not None and visitor.ran_here:
            visitor.picked = characters(prompt, int(event.start), int(event.end))

    def hit(self, visitor: Visitor, mode: str, event: gr.EventData) -> Updates:
        """A token was clicked: its block is turned, where clicks do that."""
        prompt, stored = visitor.run.view.pruned.prompt, self.results.get(visitor.key)
        if mode != TURN or prompt is None or stored is None or visitor.ran is None or not visitor.ran_here:
            return dict(gr.skip())
        token, size = int(event.token), visitor.ran.block_size
        block = characters(prompt, token // size * size, (token // size + 1) * size)
        if block is None or not 0 <= token < stored.kept.tokens:
            return dict(gr.skip())
        return self._settled(visitor, visitor.hands.turned(block, bool(stored.kept.alive[-1, token])))

    def keep(self, visitor: Visitor) -> Updates:
        """The selection is always kept."""
        return self._selected(visitor, visitor.hands.keeping)

    def drop(self, visitor: Visitor) -> Updates:
        """The selection is always dropped."""
        return self._selected(visitor, visitor.hands.dropping)

    def free(self, visitor: Visitor) -> Updates:
        """Nothing is settled by hand any more."""
        visitor.hands = Hands()
        return self.shown(visitor)

    def _selected(self, visitor: Visitor, settle: Callable[[Span], Hands]) -> Updates:
        if visitor.picked is None:
            return {self.hands.list: '<p class="about warning">Select some words of the document first.</p>'}
        return self._settled(visitor, settle(visitor.picked))

    def _settled(self, visitor: Visitor, hands: Hands) -> Updates:
        if len(hands.keep) + len(hands.drop) > MOST:
            told = f"Up to {MOST} passages can be kept and dropped by hand: leave some to the method first."
            return {self.hands.list: f'<p class="about warning">{told}</p>'}
        visitor.hands = hands
        return self.shown(visitor)

    def shown(self, visitor: Visitor) -> Updates:
        """What is settled, as a list."""
        return {self.hands.list: hands_html(visitor)}


def characters(prompt: Prompt, start: int, end: int) -> Span | None:
    """Characters of the document that tokens [start, end) of the prompt stand for; None for none."""
    spans = [span for span in prompt.document_spans()[max(0, start) : max(0, end)] if span is not None]
    return (spans[0][0], spans[-1][1]) if spans else None


def hands_html(visitor: Visitor) -> str:
    """The passages that are settled by hand, with their tokens for the script that marks them in the text."""
    hands, document = visitor.hands, visitor.document
    if document is None or not (hands.keep or hands.drop):
        return HINT
    prompt = visitor.run.view.pruned.prompt
    tokens = {"keep": _tokens(prompt, hands.keep), "drop": _tokens(prompt, hands.drop)}
    lines = "".join(
        f"<li><b>{name}</b> {_quotes(document.text, spans)}</li>"
        for name, spans in (("Always kept:", hands.keep), ("Always dropped:", hands.drop))
        if spans
    )
    return f'<ul class="hands" data-hands="{escape(json.dumps(tokens))}">{lines}</ul>'


def _tokens(prompt: Prompt | None, spans: tuple[Span, ...]) -> list[list[int]]:
    return [] if prompt is None else [list(prompt.token_range(*span)) for span in spans]


def _quotes(text: str, spans: tuple[Span, ...]) -> str:
    shown = []
    for start, end in spans[:SHOWN]:
        words = " ".join(text[start:end].split())
        shown.append(f"“{escape(words if len(words) <= LONGEST else words[:LONGEST] + ' …')}”")
    more = len(spans) - SHOWN
    return ", ".join(shown) + (f" and {plural(more, 'more passage')}" if more > 0 else "")
