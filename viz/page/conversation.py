"""The Conversation tab: one question after another about a document that is read once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import gradio as gr

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event
from sliminfer.engine.follow_up import follow_up
from sliminfer.engine.questions import DocumentRead
from sliminfer.engine.request import RunRequest
from sliminfer.engine.side_result import SideResult
from sliminfer.errors import ConfigError, SlimError
from sliminfer.schedule.flops import kv_bytes
from viz.figures.conversation import Asked, conversation_grid, conversation_html, conversation_table
from viz.figures.export import Figure
from viz.figures.kept_map import KeptMap
from viz.figures.table import Table
from viz.page.asking import asked, beats
from viz.page.controls import Controls
from viz.page.desk import QUIET, Desk
from viz.page.model_picker import title_of
from viz.page.panes import status
from viz.page.readings import ReadingKey
from viz.page.run_bar import RunBar
from viz.page.session import Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.stream import plain_message
from viz.page.subject import schedule
from viz.page.tab import Tab, Updates
from viz.page.talk import MOST_TURNS, Talk, Turn

HINT = (
    '<p class="hint">Ask one question after another. The pruned model reads the document once; each question then '
    "chooses anew what it needs, and computes only the layers above the first prune step again. What was said before "
    "is part of the prompt.</p>"
)


@dataclass(frozen=True)
class ConversationTab(Tab):
    """The tab's components."""

    id: ClassVar[str] = "conversation"
    label: ClassVar[str] = "Conversation"

    turns: gr.HTML
    question: gr.Textbox
    ask: gr.Button
    anew: gr.Button
    kept: gr.HTML

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        turns = gr.HTML(HINT, elem_id="talk", apply_default_css=False)
        question = gr.Textbox(
            label="Next question", lines=1, max_lines=4, elem_id="next-question",
            placeholder="About the document on the left, with its model and pruning",
        )  # fmt: skip
        with gr.Row(elem_id="talk-buttons"):
            ask = gr.Button("Ask", size="sm", scale=0, elem_id="ask-next")
            anew = gr.Button("Begin anew", size="sm", scale=0, elem_id="talk-anew")
        kept = gr.HTML("", elem_id="talk-kept", apply_default_css=False)
        return cls(turns, question, ask, anew, kept)

    @property
    def outputs(self) -> list[Any]:
        return [self.turns, self.kept]

    def taken(self, visitor: Visitor) -> Updates:
        return {} if visitor.talk.document == visitor.document else self.blank()

    def blank(self) -> Updates:
        """Updates that show no conversation."""
        return {self.turns: HINT, self.kept: ""}

    @classmethod
    def figures(cls, visitor: Visitor) -> dict[str, Figure]:
        talk = visitor.talk
        if not talk.turns or talk.document != visitor.document:
            return {}
        return {"conversation_kept": _grid(talk)}

    @classmethod
    def tables(cls, visitor: Visitor) -> dict[str, Table]:
        talk = visitor.talk
        if not talk.turns or talk.document != visitor.document:
            return {}
        return {"conversation": conversation_table(_shown(talk))}

    def wire(self, desk: Desk) -> None:
        events = ConversationEvents(desk.site, desk.controls, desk.bar, self)
        for trigger in (self.ask.click, self.question.submit):
            desk.study(trigger, events.run, events.inputs, [*self.outputs, self.question])
        self.anew.click(events.anew, desk.visitor, [*self.outputs, desk.bar.status], queue=False, **QUIET)


@dataclass(frozen=True)
class ConversationEvents:
    """The callbacks of "Ask" and "Begin anew"."""

    site: Site
    controls: Controls
    bar: RunBar
    tab: ConversationTab

    @property
    def inputs(self) -> list[Any]:
        return [self.tab.question, self.controls.document.paste, *self.controls.inputs]

    def anew(self, visitor: Visitor, request: gr.Request) -> Updates:
        """Forget what was said, and what was read for it."""
        self.site.readings.forget(str(request.session_hash))
        visitor.talk = Talk()
        return {**self.tab.blank(), self.bar.status: status("Ready for a new conversation.")}

    def run(self, visitor: Visitor, request: gr.Request, question: str, pasted: str, *values: Any) -> Iterator[Updates]:
        """Answer `question` after those before it; the answer grows as it comes."""
        session, question = str(request.session_hash), str(question or "").strip()
        try:
            setup, wanted = asked(self.site, self.controls, visitor, pasted, self._asking(values, question))
            talk = visitor.talk.about(visitor.document, setup.model, wanted.config, visitor.hands)
            if len(talk.turns) == MOST_TURNS:
                raise ConfigError(f"This conversation has {MOST_TURNS} turns, all of them in the prompt: begin anew.")
        except SlimError as error:
            yield {self.bar.status: status(str(error), "error")}
            return
        if not talk.turns:
            self.site.readings.forget(session)
        wanted = replace(wanted, history=talk.history, evidence=())
        flag = self.site.stops.begin(session)
        side, read, failure = SideResult("pruned"), None, ""

        def start() -> Iterator[DocumentRead | Event]:
            return self._answered(session, setup, wanted, flag)

        yield self.bar.busy("Reading the document …" if talk.reading is None else "Asking what was read …")
        try:
            for beat in beats(self.site, session, flag, start):
                for item in beat.items:
                    if isinstance(item, DocumentRead):
                        read = item
                    else:
                        side = side.after(item)
                if side.error:
                    raise ConfigError(side.error)
                now = Asked(question, side.text, read_s=0.0 if read is None else read.seconds)
                yield {self.tab.turns: self._drawn(talk, setup, now)}
        except Exception as error:  # whatever it was, the visitor gets a sentence and a working page
            failure = plain_message(error)
        if side.metrics is None or side.prompt is None:
            line = status(failure, "error") if failure else status("Stopped.")
            yield {self.bar.status: line, self.tab.turns: self._drawn(talk, setup), **self.bar.idle()}
            return
        turn = Turn(question, side.text, side.metrics.ttft_s, read, KeptMap.from_side(side, wanted.config))
        visitor.talk = talk = talk.after(turn, talk.full_bytes or self._full_bytes(setup, side.prompt.question[0]))
        self.site.holdings.note(visitor)
        grid = _grid(talk).html()
        said = {self.tab.turns: self._drawn(talk, setup), self.tab.kept: grid, self.tab.question: ""}
        line = status(failure, "error") if failure else status("Done: ask on.", "done")
        yield {self.bar.status: line, **said, **self.bar.idle()}

    def _asking(self, values: Sequence[Any], question: str) -> tuple[Any, ...]:
        """The values of the controls with `question` in place of the one on the left."""
        at = self.controls.inputs.index(self.controls.document.question)
        return (*values[:at], question, *values[at + 1 :])

    def _answered(
        self, session: str, setup: Setup, wanted: RunRequest, flag: threading.Event
    ) -> Iterator[DocumentRead | Event]:
        """The answer, where the GPU is lent call by call without a reading: nothing stays on it."""
        engine = self.site.shelf.engine(setup.model)
        if self.site.shelf.borrows:
            yield from engine.run(wanted, "pruned")
        else:
            yield from self._followed(engine, session, setup, wanted, flag)

    def _followed(
        self, engine: SlimEngine, session: str, setup: Setup, wanted: RunRequest, flag: threading.Event
    ) -> Iterator[DocumentRead | Event]:
        readings = self.site.readings
        try:
            key = ReadingKey.of(setup.model, "pruned", wanted.config, engine.loaded.layers, wanted.document)
        except ConfigError:  # no reading can stand for the method
            yield from engine.run(wanted, "pruned", flag)
            return
        held = readings.find(session, key)
        yield from follow_up(engine, wanted, held, partial(readings.hold, session, key), "pruned", flag)

    def _full_bytes(self, setup: Setup, tokens: int) -> int:
        """Bytes of the full model's keys and values of the `tokens` before the first question; 0 where it is gone."""
        loaded = self.site.shelf.loaded(setup.model)
        if loaded is None:
            return 0
        return kv_bytes(loaded.shape, (tokens,) * loaded.shape.layers, loaded.model.dtype.itemsize)

    def _drawn(self, talk: Talk, setup: Setup, now: Asked | None = None) -> str:
        """The conversation so far, with the turn that is under way."""
        turns = [*_shown(talk), *([] if now is None else [now])]
        if not turns:
            return HINT
        name = "the document" if talk.document is None else talk.document.name
        subject = f"About {name}, by {title_of(setup.model)}; {schedule(setup)}."
        read = talk.reading
        held = None if read is None or not talk.full_bytes else (read.nbytes, talk.full_bytes)
        return conversation_html(turns, subject, held)


def _shown(talk: Talk) -> list[Asked]:
    """The turns as they are shown: what reading again would have cost is what the last reading took."""
    shown, reading = [], None
    for turn in talk.turns:
        reading = turn.read or reading
        again = None if reading is None else turn.ttft_s + reading.seconds
        reached = (turn.kept.stages[-1].tokens, turn.kept.tokens)
        read_s = 0.0 if turn.read is None else turn.read.seconds
        shown.append(Asked(turn.question, turn.answer, turn.ttft_s, read_s, again, reached))
    return shown


def _grid(talk: Talk) -> Figure:
    tokens = talk.turns[0].kept.regions.question[0]
    return conversation_grid([(turn.question, turn.kept) for turn in talk.turns], tokens)
