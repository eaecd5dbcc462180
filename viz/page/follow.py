"""What follows from the choices as they stand: the promise, what to ask and to expect, whose results are shown.

It is one function of the visitor and the controls, called after every change, so the picture cannot lag behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.errors import SlimError
from viz.page.abilities import ability
from viz.page.controls import Controls
from viz.page.document_input import expected
from viz.page.part_input import room_html
from viz.page.schedule_input import faulty, promise
from viz.page.session import Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.subject import Subject, notes
from viz.page.tab import Tab, Updates

USUAL_TOKENS = 4096  # of a prompt, where no document says how long it is


@dataclass(frozen=True)
class Follow:
    """The callback, over the components that it keeps right."""

    site: Site
    controls: Controls
    tabs: Sequence[Tab]

    @property
    def notes(self) -> Mapping[str, list[gr.HTML]]:
        """Where it is said whose results are shown, by the name of the results."""
        found: dict[str, list[gr.HTML]] = {}
        for tab in self.tabs:
            for name, part in tab.notes.items():
                found.setdefault(name, []).append(part)
        return found

    @property
    def outputs(self) -> list[Any]:
        lines = [part for parts in self.notes.values() for part in parts]
        document = self.controls.document
        told = [document.expect, document.ability, document.part.room]
        return [self.controls.schedule.drawing, *told, *lines]

    def after(self, visitor: Visitor, *values: Any) -> Updates:
        """Something may have changed: `values` are those of the controls."""
        drawing = self.controls.schedule.drawing
        setup: Setup | None
        try:
            setup = self.controls.read(values)
            visitor.model = setup.model
            told = drawn(self.site, visitor, setup)
        except SlimError as error:
            setup, told = None, faulty(str(error))
        example = None if setup is None else self.site.example(setup.example)
        suggestion = None if example is None or setup is None else example.suggestion(setup.question)
        now = None if setup is None else visitor.asks(setup)
        lines = notes(visitor.belongs, now)
        can = {} if setup is None else {self.controls.document.ability: ability(setup.model, self.site.models)}
        return {
            **can,
            drawing: told,
            self.controls.document.expect: expected(suggestion),
            self.controls.document.part.room: room_said(self.site, visitor, setup),
            **{part: lines.get(name, "") for name, parts in self.notes.items() for part in parts},
        }

    def fresh(self, visitor: Visitor, names: Iterable[str], subject: Subject) -> Updates:
        """New results of `subject` are on their way under `names`: their lines are empty."""
        visitor.belongs |= dict.fromkeys(names, subject)
        return {part: "" for name in names for part in self.notes.get(name, [])}


def drawn(site: Site, visitor: Visitor, setup: Setup) -> str:
    """The promise of `setup` for the visitor's document, or for a usual length where there is none."""
    shape = site.known(setup.model).shape
    if visitor.document is None or not visitor.tokens:
        return promise(setup, shape, min(USUAL_TOKENS, shape.context))
    return promise(setup, shape, *site.asking(visitor.tokens, setup.question))


def room_said(site: Site, visitor: Visitor, setup: Setup | None) -> str:
    """How much can be read, and how long the visitor's document will take."""
    room = site.room(visitor.model)
    if setup is None or not setup.steps:
        return room_html(room, None)
    try:
        return room_html(room, site.expected_s(setup, visitor.tokens))
    except SlimError:  # the drawing says what is wrong
        return room_html(room, None)
