"""Run and Stop: one generator drives everything a run shows, on every tab."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.engine.events import Event
from sliminfer.engine.request import RunRequest
from sliminfer.errors import SlimError
from viz.figures.kept_map import KeptMap
from viz.page import kept
from viz.page.asking import asked, beats
from viz.page.controls import Controls
from viz.page.follow import Follow
from viz.page.hands import NO_HANDS
from viz.page.live import LiveRun
from viz.page.pairs import pairs
from viz.page.panes import progress, status, timing_on, waiting_words
from viz.page.past import Past, remembered
from viz.page.run_bar import RunBar
from viz.page.session import ResultStore, Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.stream import ENGINE_QUEUE, plain_message
from viz.page.subject import Subject
from viz.page.tab import Moment, Tab, Updates, of_all

RUN_NOTES = ("run", "kept")  # the names of what a run shows; the marked document goes when another one is chosen


@dataclass(frozen=True)
class RunEvents:
    """The callbacks of Run and Stop."""

    site: Site
    controls: Controls
    bar: RunBar
    tabs: Sequence[Tab]
    follow: Follow

    @property
    def inputs(self) -> list[Any]:
        return [self.controls.document.paste, *self.controls.inputs]

    @property
    def outputs(self) -> list[Any]:
        notes = [part for name in RUN_NOTES for part in self.follow.notes.get(name, [])]
        return [*self.bar.outputs, *(part for tab in self.tabs for part in tab.outputs), *notes]

    def prepare(self, visitor: Visitor, pasted: str, *values: Any) -> Updates:
        """Check the request before it queues; what is wrong with it goes to the status line."""
        try:
            setup, _ = self._request(visitor, pasted, values)
        except SlimError as error:
            return {self.bar.status: status(str(error), "error"), **self.bar.idle()}
        fresh = self.follow.fresh(visitor, RUN_NOTES, visitor.asks(setup))
        busy = self.bar.busy(waiting_words(*self.site.ahead(ENGINE_QUEUE)))
        return {**busy, **fresh, **of_all(self.tabs, lambda tab: tab.cleared(visitor))}

    def run(self, visitor: Visitor, request: gr.Request, pasted: str, *values: Any) -> Iterator[Updates]:
        """The run itself, as updates of the whole page."""
        try:
            setup, wanted = self._request(visitor, pasted, values)
        except SlimError as error:  # `prepare` has said so; a generator without any update would blank the page
            yield {self.bar.status: status(str(error), "error")}
            return
        session = str(request.session_hash)
        flag, subject = self.site.stops.begin(session), visitor.asks(setup)
        visitor.opened = None
        visitor.ran, visitor.key, visitor.ran_evidence = setup, ResultStore.new_key(), visitor.evidence
        visitor.belongs |= dict.fromkeys(RUN_NOTES, visitor.asks(setup))
        live = visitor.run = LiveRun(of=setup.repeats)
        failure = ""

        def start() -> Iterator[Event]:
            return pairs(self.site, setup, wanted, flag)

        yield self.bar.busy("Loading the model …" if self.site.shelf.loaded(setup.model) is None else "Preparing …")
        try:
            for beat in beats(self.site, session, flag, start):
                for event in beat.items:
                    live = live.after(event)
                visitor.run = live
                line = timing_on(live) if live.complete else progress(live)
                yield {self.bar.status: line, **self._drawn(visitor, beat.figures)}
        except Exception as error:  # whatever it was, the visitor gets a sentence and a working page
            failure = plain_message(error)
        if flag.is_set() and not live.complete:
            live = visitor.run = live.halted()
        visitor.ran_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        if live.complete:
            visitor.history = remembered(visitor.history, past_of(visitor, subject))
            self.site.holdings.note(visitor)
        yield {
            self.bar.status: status(failure, "error") if failure else progress(live),
            **self.shown(visitor),
            **self.bar.idle(),
        }

    def stop(self, request: gr.Request) -> Updates:
        """Ask the visitor's run to stop at the next layer."""
        if self.site.stops.stop(str(request.session_hash)):
            return {self.bar.status: status("Stopping at the next layer …", "busy")}
        return self.bar.idle()

    def failed(self, visitor: Visitor) -> Updates:
        """The run could not even queue: give the buttons back and say so."""
        for name in RUN_NOTES:
            visitor.belongs.pop(name, None)
        return {
            **self.bar.idle(),
            self.bar.status: status("Too many visitors are waiting for the engine: try again in a minute.", "error"),
        }

    def _request(self, visitor: Visitor, pasted: str, values: tuple[Any, ...]) -> tuple[Setup, RunRequest]:
        return asked(self.site, self.controls, visitor, pasted, values)

    def shown(self, visitor: Visitor) -> Updates:
        """All that the tabs show of the visitor's run, once no more of it will come."""
        return self._drawn(visitor, figures=True, over=True)

    def _drawn(self, visitor: Visitor, figures: bool, over: bool = False) -> Updates:
        """Updates of all tabs, with the map of kept tokens where it is due."""
        pruned, stored = visitor.run.view.pruned, None
        if figures and pruned.layers_done and visitor.ran is not None:
            subject = visitor.belongs.get("run")
            hands = NO_HANDS if subject is None else subject.hands
            stored = kept.stored_map(pruned, visitor.ran.config(), visitor.ran_evidence, hands)
            self.site.results.put(visitor.key, stored)
        elif over:  # stopped in the full side of a later round: the map of the one before stands
            stored = self.site.results.get(visitor.key)
        moment = Moment(visitor, figures, over, stored)
        return of_all(self.tabs, lambda tab: tab.drawn(moment))


def past_of(visitor: Visitor, subject: Subject) -> Past:
    """The visitor's run, which both sides have finished."""
    view = visitor.run.view
    assert view.comparison is not None
    config = subject.setup.config()
    return Past(
        number=visitor.history[-1].number + 1 if visitor.history else 1,
        subject=subject,
        flops=view.comparison.ttft_flops,
        kv=view.comparison.kv_bytes,
        agreement=view.comparison.agreement,
        text=view.pruned.text,
        full=view.full.text,
        kept=KeptMap.from_side(view.pruned, config),
    )
