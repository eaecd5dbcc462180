"""The document card: an example, an upload or pasted text, and the question with its suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from sliminfer.documents import Document, DocumentLimits, parse_document_safely
from viz.figures.words import count, escape
from viz.page import part_input
from viz.page.examples import Example, Suggestion
from viz.page.part_input import PartInput
from viz.page.setup import Setup

SOURCES = ("Example", "Upload", "Paste")
SUGGESTIONS = 4
PASTED_NAME = "pasted text.txt"


@dataclass(frozen=True)
class DocumentInput:
    """The card's components; `chips` are buttons that put a suggested question into `question`."""

    source: gr.Radio
    example: gr.Dropdown
    upload: gr.File
    paste: gr.Textbox
    about: gr.HTML
    part: PartInput
    question: gr.Textbox
    chips: tuple[gr.Button, ...]
    expect: gr.HTML
    ability: gr.HTML

    def show_source(self, source: str) -> dict[Any, Any]:
        """Updates that show only the input of `source`."""
        return {
            self.example: gr.Dropdown(visible=source == "Example"),
            self.upload: gr.File(visible=source == "Upload"),
            self.paste: gr.Textbox(visible=source == "Paste"),
        }

    def show_suggestions(self, questions: Sequence[str]) -> dict[Any, Any]:
        """Updates that put `questions` on the chips and hide the rest."""
        shown = list(questions[:SUGGESTIONS]) + [""] * (SUGGESTIONS - len(questions[:SUGGESTIONS]))
        return {chip: gr.Button(text or "–", visible=bool(text)) for chip, text in zip(self.chips, shown, strict=True)}


def build(setup: Setup, examples: Sequence[Example], about: str, can: str = "") -> DocumentInput:
    """Lay the card out, showing the example of `setup`; `can` says what the model can be asked."""
    chosen = next((example for example in examples if example.id == setup.example), None)
    suggested = chosen.suggestions if chosen else ()
    source = gr.Radio(
        list(SOURCES), value="Example" if chosen else "Paste", label="Document", elem_id="source",
        elem_classes="segmented",
    )  # fmt: skip
    example = gr.Dropdown(
        [(item.title, item.id) for item in examples],
        value=chosen.id if chosen else None,
        label="Example",
        show_label=False,
        container=False,
        visible=chosen is not None,
        elem_id="example",
    )
    # Without a list of types: Gradio would refuse with all of them what the reader refuses with a reason.
    upload = gr.File(label="Upload a document", height=120, visible=False, elem_id="upload")
    paste = gr.Textbox(
        label="Paste a text", lines=6, max_lines=6, visible=chosen is None, elem_id="paste",
        placeholder="Paste a long text here …",
    )  # fmt: skip
    about_line = gr.HTML(about, elem_id="about-document", apply_default_css=False)
    part = part_input.build()
    question = gr.Textbox(
        setup.question, label="Question", lines=2, max_lines=4, elem_id="question",
        placeholder="What do you want to know about the document?",
    )  # fmt: skip
    with gr.Row(elem_id="chips"):
        chips = tuple(
            gr.Button(
                suggested[index].question if index < len(suggested) else "–",
                visible=index < len(suggested), size="sm", elem_classes="chip",
            )
            for index in range(SUGGESTIONS)
        )  # fmt: skip
    expect = gr.HTML(
        expected(chosen.suggestion(setup.question)) if chosen else "", elem_id="expect", apply_default_css=False
    )
    able = gr.HTML(can, elem_id="ability", apply_default_css=False)
    return DocumentInput(source, example, upload, paste, about_line, part, question, chips, expect, able)


def expected(suggestion: Suggestion | None) -> str:
    """What to expect of a suggested question; empty for the visitor's own."""
    if suggestion is None:
        return ""
    return f'<p class="about">Expect <b>{escape(suggestion.answer)}</b>. {escape(suggestion.note)}</p>'


def read_upload(path: str, limits: DocumentLimits) -> Document:
    """The document in an uploaded file; raises DocumentError."""
    file = Path(path)
    return parse_document_safely(file.read_bytes(), file.name, limits)


def read_paste(text: str) -> Document:
    """Pasted text as a document: it is text already, so nothing has to be guessed."""
    return Document(text=text, name=PASTED_NAME, kind="text", encoding="utf-8", pages=None, characters=len(text))


def about_document(document: Document | None, tokens: int) -> str:
    """One line on a document: kind, pages, characters, tokens, and what was lost on the way."""
    if document is None or not document.text.strip():
        return '<p class="about">No document yet.</p>'
    parts = [document.kind]
    if document.pages:
        parts.append(f"{count(document.pages)} pages")
    parts += [f"{count(document.characters)} characters", f"{count(tokens)} tokens"]
    warnings = "".join(f'<p class="about warning">{escape(text)}</p>' for text in document.warnings)
    return f'<p class="about"><b>{escape(document.name)}</b> {escape(" · ".join(parts))}</p>{warnings}'
