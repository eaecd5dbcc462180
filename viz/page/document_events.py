"""Callbacks of the cards on the left: they change the visitor's document, the question and the schedule.

What follows from a change, such as the promise under the preset, is the business of `follow.Follow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.documents import Document
from sliminfer.errors import SlimError
from sliminfer.schedule.presets import PRESETS
from viz.page import model_picker
from viz.page.controls import Controls
from viz.page.document_input import PASTED_NAME, about_document, read_paste, read_upload
from viz.page.hands import Hands
from viz.page.panes import status
from viz.page.part import AROUND, FIRST, PAGES, WHOLE, Taken, or_first, take
from viz.page.part_input import label, worth_choosing
from viz.page.proposals import propose
from viz.page.schedule_input import read_steps, resized, rows_of
from viz.page.session import Visitor
from viz.page.setup import CUSTOM, LINK_NAMES, preset_of, preset_reading, preset_share, preset_steps
from viz.page.share import setup_of_link
from viz.page.site import Site
from viz.page.tab import Tab, Updates, of_all

TEXT_NOT_IN_LINK = (
    "This link brings a question and settings for somebody's own text, which is not in it: paste or upload the text."
)


@dataclass(frozen=True)
class DocumentEvents:
    """The callbacks, over the components they update."""

    site: Site
    controls: Controls
    tabs: Sequence[Tab]
    status: gr.HTML

    def arrive(self, visitor: Visitor, request: gr.Request) -> Updates:
        """A visit by a link: show the setup it carries. A plain visit shows the page as it was built."""
        query = dict(request.query_params)
        if not set(query) & LINK_NAMES:
            return gr.skip()
        try:
            setup = setup_of_link(self.site, query)
        except SlimError as error:
            return {self.status: status(str(error), "error")}
        chosen = self.site.example(setup.example)
        shown = self.controls.show(setup, self.site.known(setup.model).shape.layers)
        if chosen is not None:
            return {**self._example(visitor, chosen.id), **shown}
        told = {self.status: status(TEXT_NOT_IN_LINK)}
        return {**self._gone(visitor), **self.controls.document.show_suggestions(()), **shown, **told}

    def source(self, visitor: Visitor, source: str, example: str, pasted: str | None) -> Updates:
        """Another source was chosen: show its input, and its document if it has one already."""
        doc = self.controls.document
        updates = doc.show_source(source)
        if source == "Example":
            return {**updates, **self._example(visitor, example or self.site.start.example)}
        updates |= doc.show_suggestions(())
        if source == "Paste":
            return {**updates, **self._pasted(visitor, pasted or "")}
        own = visitor.uploaded
        if own is None:
            return {**updates, **self._gone(visitor)}
        return {**updates, **self._taken(visitor, own), **self._proposed(own)}

    def example(self, visitor: Visitor, identity: str) -> Updates:
        """An example was chosen: its text, its first question, its suggestions."""
        return self._example(visitor, identity) or gr.skip()

    def upload(self, visitor: Visitor, path: str | None, request: gr.Request) -> Updates:
        """A file was uploaded: its text, or what is wrong with it, and then nothing of it stays."""
        if path is None:
            return gr.skip()
        session = str(request.session_hash)
        self.site.uploads.note(session, path)
        try:
            document = read_upload(path, self.site.upload_limits)
        except SlimError as error:
            self.site.uploads.forget(session)
            said = {self.status: status(str(error), "error"), self.controls.document.upload: None}
            return {**self.removed(visitor, request), **said}
        visitor.uploaded = document
        return {**self._taken(visitor, document), **self._proposed(document)}

    def removed(self, visitor: Visitor, request: gr.Request) -> Updates:
        """The upload was removed: its text goes, and the file."""
        self.site.forget(str(request.session_hash))
        visitor.uploaded = None
        return self._gone(visitor)

    def left(self, request: gr.Request) -> None:
        """The visitor has closed the page."""
        self.site.forget(str(request.session_hash))

    def unread(self, visitor: Visitor, request: gr.Request) -> Updates:
        """The upload could not even queue."""
        said = status("Too many documents are being read: upload it again in a minute.", "error")
        return {**self.removed(visitor, request), self.status: said, self.controls.document.upload: None}

    def paste(self, visitor: Visitor, text: str | None) -> Updates:
        """Text was pasted or typed."""
        return self._pasted(visitor, text or "")

    def preset(self, name: str, model: str) -> Updates:
        """A preset was chosen: its steps and its reading for this model. "custom" leaves them as they are."""
        if name == CUSTOM:
            return gr.skip()
        layers = self.site.known(model).shape.layers
        steps, share = preset_steps(name, layers, model), preset_share(name, model)
        others = {"least_tokens": PRESETS[name].least_tokens, **preset_reading(name, model)}
        return {
            **self.controls.schedule.updates(steps, layers, model, share),
            **{self.controls.settings[field]: value for field, value in others.items()},
        }

    def count(self, model: str, reading: str, share: float | None, *values: Any) -> Updates:
        """Another number of steps was chosen: their rows, with values that follow each other."""
        schedule, layers = self.controls.schedule, self.site.known(model).shape.layers
        try:
            return schedule.updates(resized(values, layers), layers, model, share if reading == "sparse" else None)
        except SlimError as error:
            fewer = max(1, rows_of(values) - 1)
            return {schedule.count: fewer, **schedule.rows_shown(fewer), self.status: status(str(error), "error")}

    def steps(self, model: str, reading: str, share: float | None, *values: Any) -> Updates:
        """A slider or the reading was changed by hand: which preset that is."""
        try:
            steps = read_steps(values)
        except SlimError:  # the drawing says so
            return {self.controls.schedule.preset: CUSTOM}
        layers, asked = self.site.known(model).shape.layers, share if reading == "sparse" else None
        return {self.controls.schedule.preset: preset_of(steps, layers, model, asked)}

    def model(self, visitor: Visitor, model: str, preset: str, words: str | None) -> Updates:
        """Another model was picked: sliders and preset follow its depth, the part that is read what it has room for."""
        try:
            layers = self.site.known(model).shape.layers
        except SlimError as error:
            return {self.status: status(str(error), "error")}
        visitor.model = model
        share = None if preset == CUSTOM else preset_share(preset, model)
        planned = self.controls.schedule.updates(preset_steps(preset, layers, model), layers, model, share)
        return {**self._cut_anew(visitor, words or ""), **planned}

    def _cut_anew(self, visitor: Visitor, words: str) -> Updates:
        """Updates where the visitor's part no longer fits the model, or its document now fits whole; else none."""
        taken, room = visitor.taken, self.site.room(visitor.model)
        if taken is None or visitor.document is None:
            return {}
        whole = taken.tokens <= room
        if visitor.tokens <= room and not (whole and taken.how == FIRST):
            return {}
        how = WHOLE if whole else FIRST if taken.how == WHOLE else taken.how
        try:
            return self._read(visitor, take(self.site.estimated_tokens, taken.whole, taken.tokens, room, how, words))
        except SlimError:  # the words or pages are not what was taken any more, or too much for this model
            return self._taken(visitor, taken.whole)

    def _example(self, visitor: Visitor, identity: str) -> Updates:
        chosen = self.site.example(identity)
        if chosen is None:
            return {}
        questions = [suggestion.question for suggestion in chosen.suggestions]
        return {
            **self._taken(visitor, chosen.document()),
            **self.controls.document.show_suggestions(questions),
            self.controls.document.question: questions[0],
        }

    def _pasted(self, visitor: Visitor, text: str) -> Updates:
        if not text.strip():
            return self._gone(visitor)
        document = read_paste(text)
        return {**self._taken(visitor, document), **self._proposed(document)}

    def _proposed(self, document: Document) -> Updates:
        """Questions that the text answers, where there are such."""
        return self.controls.document.show_suggestions([each.question for each in propose(document.text)])

    def _gone(self, visitor: Visitor) -> Updates:
        """The visitor has no document any more."""
        visitor.document, visitor.evidence, visitor.tokens = None, (), 0
        visitor.hands, visitor.picked, visitor.taken = Hands(), None, None
        return {
            self.controls.document.about: about_document(None, 0),
            **self.controls.document.part.hidden(),
            self.controls.model: gr.HTML(options=model_picker.options(self.site.offers(0))),
            self.status: status("Choose a document."),
            **of_all(self.tabs, lambda tab: tab.taken(visitor)),
        }

    def part(self, visitor: Visitor, how: str, words: str | None) -> Updates:
        """Another part of the document was asked for."""
        taken = visitor.taken
        if taken is None:
            return gr.skip()
        parts = self.controls.document.part
        typed = gr.Textbox(visible=how in (AROUND, PAGES), label=label(how, taken.whole))
        if how in (AROUND, PAGES) and not (words or "").strip():
            return {parts.words: typed}
        room = self.site.room(visitor.model)
        try:
            chosen = take(self.site.estimated_tokens, taken.whole, taken.tokens, room, how, words or "")
        except SlimError as error:
            return {parts.words: typed, self.status: status(str(error), "error")}
        return self._read(visitor, chosen)

    def _taken(self, visitor: Visitor, document: Document) -> Updates:
        """Make `document` the visitor's, or as much of it as can be read, and show it."""
        try:
            if document.kind == "text" and document.name == PASTED_NAME:
                self.site.check_text(document.text)
            tokens = self.site.estimated_tokens(document.text)
            taken = or_first(self.site.estimated_tokens, document, tokens, self.site.room(visitor.model))
        except SlimError as error:
            return {**self._gone(visitor), self.status: status(str(error), "error")}
        return self._read(visitor, taken)

    def _read(self, visitor: Visitor, taken: Taken) -> Updates:
        """What of a document is read from now on."""
        room, document = self.site.room(visitor.model), taken.document
        whole = document is taken.whole
        visitor.read(taken, taken.tokens if whole else self.site.estimated_tokens(document.text))
        self.site.holdings.note(visitor)
        doc = self.controls.document
        shown = worth_choosing(taken.whole, taken.tokens, room)
        long = f"The document has {taken.tokens:,} tokens, and this page takes up to {room:,}: a part of it is read."
        return {
            doc.about: about_document(taken.whole, taken.tokens),
            **(doc.part.drawn(taken, room) if shown else doc.part.hidden()),
            self.controls.model: gr.HTML(options=model_picker.options(self.site.offers(visitor.tokens))),
            self.status: status(long if taken.tokens > room else "Ready."),
            **of_all(self.tabs, lambda tab: tab.taken(visitor)),
        }
