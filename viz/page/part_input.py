"""Which part of a long document is read: the choice, and what it takes and leaves out, shown before any run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.documents import Document
from viz.figures.words import count, escape, percent, plural, seconds
from viz.page.part import AROUND, FIRST, LAST, PAGES, WHOLE, Taken

_TITLES = {WHOLE: "All", FIRST: "First", LAST: "Last", AROUND: "Around words", PAGES: "Pages"}


@dataclass(frozen=True)
class PartInput:
    """The components."""

    how: gr.Radio
    words: gr.Textbox
    shown: gr.HTML
    room: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.how, self.words, self.shown]

    def hidden(self) -> dict[Any, Any]:
        """Updates for a document that is read whole, and is not worth a choice."""
        return {self.how: gr.Radio(visible=False), self.words: gr.Textbox(visible=False), self.shown: ""}

    def drawn(self, taken: Taken, room: int) -> dict[Any, Any]:
        """Updates that show what was taken of a document, where `room` tokens can be read."""
        return {
            self.how: gr.Radio(choices(taken.whole, taken.tokens, room), value=taken.how, visible=True),
            self.words: gr.Textbox(visible=taken.how in (AROUND, PAGES), label=label(taken.how, taken.whole)),
            self.shown: part_html(taken, room),
        }


def build() -> PartInput:
    """Lay the choice out, hidden until a document asks for it."""
    how = gr.Radio(
        [(_TITLES[name], name) for name in (WHOLE, FIRST, LAST, AROUND)], value=WHOLE, label="Part that is read",
        visible=False, elem_id="part", elem_classes="segmented",
    )  # fmt: skip
    words = gr.Textbox(visible=False, lines=1, max_lines=2, elem_id="part-words", label="Words")
    shown = gr.HTML("", elem_id="part-shown", apply_default_css=False)
    return PartInput(how, words, shown, gr.HTML("", elem_id="room", apply_default_css=False))


def choices(document: Document, tokens: int, room: int) -> list[tuple[str, str]]:
    """The choices that make sense for a document of `tokens` tokens."""
    names = [*([WHOLE] if tokens <= room else []), FIRST, LAST, AROUND, *([PAGES] if document.page_starts else [])]
    return [(_TITLES[name], name) for name in names]


def label(how: str, document: Document) -> str:
    """What to type for a choice."""
    if how == PAGES:
        return f"Pages, as in 3-7, 12 (of {document.pages or 0:,})"
    return "Words that stand in the part"


def worth_choosing(document: Document, tokens: int, room: int) -> bool:
    """Whether a document is too long to be read whole, or has pages to choose from."""
    return tokens > room or len(document.page_starts) > 1


def part_html(taken: Taken, room: int) -> str:
    """What was taken along the document, and what was left out, in words."""
    part = taken.part
    one = 100 / max(1, part.length)
    bars = "".join(
        f'<i style="left:{one * start:.2f}%;width:{one * (end - start):.2f}%"></i>' for start, end in part.spans
    )
    share = part.taken / max(1, part.length)
    if not part.left_out:
        return f'<p class="about">All of it is read: {count(taken.tokens)} of up to {count(room)} tokens.</p>'
    left = left_out(taken)
    return (
        f'<div class="part-bar" role="img" aria-label="{percent(share)} of the document is read">{bars}</div>'
        f'<p class="about"><b>{percent(share)} is read</b> of {count(taken.tokens)} tokens; this page reads up to '
        f"{count(room)}. Left out: {escape(left)}.</p>"
    )


def room_html(room: int, took_s: float | None) -> str:
    """How much can be read, and how long it will take where anybody knows."""
    time = "" if took_s is None else f"; both sides would take about {seconds(took_s)} to their first words"
    return f'<p class="about">Up to {count(room)} tokens can be read here{time}.</p>'


def left_out(taken: Taken) -> str:
    """What is not read, by pages where the document has them, else by shares."""
    gaps = taken.part.left_out
    starts = taken.whole.page_starts
    if starts:
        ends = [*starts[1:], taken.part.length]
        gone = [
            number
            for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
            if start < end and any(a <= start and end <= b for a, b in gaps)
        ]
        if gone:
            return f"{plural(len(gone), 'whole page')} ({ranges(gone)})"
    total = max(1, taken.part.length)
    return " and ".join(f"{percent((end - start) / total)} from {percent(start / total)} on" for start, end in gaps)


def ranges(numbers: list[int]) -> str:
    """Rising numbers as ranges: 1, 2, 3, 7 is "1–3, 7"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in found)
