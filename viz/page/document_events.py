"""Callbacks of the cards on the left: they change the visitor's document, the question and the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from sliminfer.documents import Document
from sliminfer.errors import SlimError
from sliminfer.schedule.config import PruneStep
from viz.page import model_picker
from viz.page.controls import Controls
from viz.page.document_input import about_document, expected, read_paste, read_upload
from viz.page.panes import status
from viz.page.schedule_input import promise, read_steps
from viz.page.session import Visitor
from viz.page.setup import LINK_NAMES, MAX_STEPS, preset_steps
from viz.page.share import setup_of_link
from viz.page.site import Site
from viz.page.tab import Tab, Updates, of_all


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
        known = self.site.known(setup.model)
        updates = self.controls.show(setup, known.shape.layers)
        chosen = self.site.example(setup.example)
        if chosen is not None:
            updates = {**self.example(visitor, chosen.id), **updates}
        return updates | {
            self.controls.schedule.drawing: promise(setup, known.shape, max(1, visitor.tokens)),
            self.controls.document.expect: self.expected("Example", setup.example, setup.question),
        }

    def expected(self, source: str, identity: str, question: str) -> str:
        """What to expect of the question, where it is a suggested one."""
        chosen = self.site.example(identity) if source == "Example" else None
        return expected(None if chosen is None else chosen.suggestion(question or ""))

    def source(self, visitor: Visitor, source: str, example: str, pasted: str | None) -> Updates:
        """Another source was chosen: show its input, and its document if it has one already."""
        doc = self.controls.document
        updates = doc.show_source(source)
        if source == "Example":
            return {**updates, **self.example(visitor, example or self.site.start.example)}
        updates |= doc.show_suggestions(())
        if source == "Paste" and (pasted or "").strip():
            updates |= self.paste(visitor, pasted or "")
        return updates

    def example(self, visitor: Visitor, identity: str) -> Updates:
        """An example was chosen: its text, its first question, its suggestions."""
        chosen = self.site.example(identity)
        if chosen is None:
            return {}
        questions = [suggestion.question for suggestion in chosen.suggestions]
        return {
            **self._taken(visitor, chosen.document()),
            **self.controls.document.show_suggestions(questions),
            self.controls.document.question: questions[0],
        }

    def upload(self, visitor: Visitor, path: str | None, request: gr.Request) -> Updates:
        """A file was uploaded: its text, or what is wrong with it."""
        if path is None:
            return {}
        self.site.uploads.note(str(request.session_hash), path)
        try:
            return self._taken(visitor, read_upload(path, self.site.document_limits))
        except SlimError as error:
            return {self.status: status(str(error), "error"), self.controls.document.upload: None}

    def left(self, request: gr.Request) -> None:
        """The visitor has closed the page."""
        self.site.uploads.forget(str(request.session_hash))

    def unread(self) -> Updates:
        """The upload could not even queue."""
        said = status("Too many documents are being read: upload it again in a minute.", "error")
        return {self.status: said, self.controls.document.upload: None}

    def paste(self, visitor: Visitor, text: str) -> Updates:
        """Text was pasted or typed."""
        return self._taken(visitor, read_paste(text)) if text.strip() else {}

    def preset(self, visitor: Visitor, name: str, model: str) -> Updates:
        """A preset was chosen: its steps for this model. "custom" leaves them as they are."""
        layers = self.site.known(model).shape.layers
        schedule = self.controls.schedule
        if name == "custom":
            return {}
        steps = preset_steps(name, layers, model)
        return {**schedule.updates(steps, layers, model), schedule.drawing: self._promise(visitor, model, steps)}

    def steps(self, visitor: Visitor, model: str, *values: Any) -> Updates:
        """A slider or the number of steps was changed by hand."""
        schedule = self.controls.schedule
        try:
            steps = read_steps(values)
        except SlimError as error:
            return {self.status: status(str(error), "error")}
        shown = {schedule.rows[i]: gr.Row(visible=i < len(steps)) for i in range(MAX_STEPS)}
        layers = self.site.known(model).shape.layers
        updates = schedule.updates(steps, layers, model)
        return {
            **shown,
            schedule.preset: updates[schedule.preset],
            schedule.drawing: self._promise(visitor, model, steps),
        }

    def model(self, visitor: Visitor, model: str, preset: str) -> Updates:
        """Another model was picked: the sliders' ranges and the preset follow its depth."""
        try:
            layers = self.site.known(model).shape.layers
        except SlimError as error:
            return {self.status: status(str(error), "error")}
        steps = preset_steps(preset, layers, model)
        schedule = self.controls.schedule
        return {**schedule.updates(steps, layers, model), schedule.drawing: self._promise(visitor, model, steps)}

    def _taken(self, visitor: Visitor, document: Document) -> Updates:
        """Make `document` the visitor's, and show it; one that nobody could run is not taken."""
        try:
            tokens = self.site.count_tokens(document.text)
        except SlimError as error:
            visitor.document, visitor.evidence, visitor.tokens = None, (), 0
            blank = of_all(self.tabs, lambda tab: tab.taken(visitor))
            about = {self.controls.document.about: about_document(None, 0)}
            return {self.status: status(str(error), "error"), **about, **blank}
        visitor.document, visitor.evidence, visitor.tokens = document, (), tokens
        self.site.holdings.note(visitor)
        try:
            self.site.shelf.limits.check(visitor.tokens, 1)
            said = status("Ready.")
        except SlimError as error:
            said = status(str(error), "error")
        return {
            self.controls.document.about: about_document(document, visitor.tokens),
            self.controls.model: gr.HTML(options=model_picker.options(self.site.offers(visitor.tokens))),
            self.status: said,
            **of_all(self.tabs, lambda tab: tab.taken(visitor)),
        }

    def _promise(self, visitor: Visitor, model: str, steps: tuple[PruneStep, ...]) -> str:
        setup = replace(self.site.start, steps=steps)
        return promise(setup, self.site.known(model).shape, max(1, visitor.tokens))
