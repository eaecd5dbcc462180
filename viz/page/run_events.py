"""Run and Stop: one generator drives everything a run shows, both panes included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.engine.events import Event
from sliminfer.engine.request import RunRequest
from sliminfer.errors import SlimError
from viz.page import kept
from viz.page.asking import asked, beats
from viz.page.cache import CacheTab
from viz.page.compare import CompareTab
from viz.page.controls import Controls
from viz.page.kept import KeptView
from viz.page.live import LiveRun
from viz.page.panes import progress, status
from viz.page.session import ResultStore, Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.stream import plain_message

Updates = dict[Any, Any]


@dataclass(frozen=True)
class RunBar:
    """Run, Stop and the status line."""

    run: gr.Button
    stop: gr.Button
    status: gr.HTML

    def busy(self, words: str) -> Updates:
        """Updates while a run is under way."""
        return {
            self.run: gr.Button(interactive=False),
            self.stop: gr.Button(interactive=True),
            self.status: status(words, "busy"),
        }

    def idle(self) -> Updates:
        """Updates of the buttons once no run is under way."""
        return {self.run: gr.Button(interactive=True), self.stop: gr.Button(interactive=False)}


@dataclass(frozen=True)
class RunEvents:
    """The callbacks of Run and Stop."""

    site: Site
    controls: Controls
    bar: RunBar
    compare: CompareTab
    kept: KeptView
    cache: CacheTab

    @property
    def inputs(self) -> list[Any]:
        return [self.controls.document.paste, *self.controls.inputs]

    def prepare(self, visitor: Visitor, pasted: str, *values: Any) -> Updates:
        """Check the request before it queues; what is wrong with it goes to the status line."""
        try:
            self._request(visitor, pasted, values)
        except SlimError as error:
            return {self.bar.status: status(str(error), "error"), **self.bar.idle()}
        blank = LiveRun()
        return {
            **self.bar.busy("Waiting for the engine: a device computes one run at a time."),
            **self.compare.updates(blank, figures=True),
            self.kept.glance: "",
            self.kept.map: kept.MAP_HINT,
            **self.cache.updates(blank, visitor.link),
        }

    def run(self, visitor: Visitor, request: gr.Request, pasted: str, *values: Any) -> Iterator[Updates]:
        """The run itself, as updates of the whole page."""
        try:
            setup, wanted = self._request(visitor, pasted, values)
        except SlimError as error:  # `prepare` has said so; a generator without any update would blank the page
            yield {self.bar.status: status(str(error), "error")}
            return
        session = str(request.session_hash)
        flag = self.site.stops.begin(session)
        visitor.ran, visitor.key = setup, ResultStore.new_key()
        live = visitor.run = LiveRun(of=setup.repeats)
        failure = ""

        def start() -> Iterator[Event]:
            engine = self.site.shelf.engine(setup.model)
            for _ in range(setup.repeats):
                yield from engine.compare(wanted)

        yield self.bar.busy("Loading the model …" if self.site.shelf.loaded(setup.model) is None else "Preparing …")
        try:
            for beat in beats(self.site, session, flag, start):
                for event in beat.items:
                    live = live.after(event)
                visitor.run = live
                yield {self.bar.status: progress(live), **self._drawn(visitor, live, beat.figures)}
        except Exception as error:  # whatever it was, the visitor gets a sentence and a working page
            failure = plain_message(error)
        if flag.is_set() and not live.complete:
            live = visitor.run = live.halted()
        yield {
            self.bar.status: status(failure, "error") if failure else progress(live),
            **self._drawn(visitor, live, figures=True),
            **self._marked(visitor),
            **self.cache.updates(live, visitor.link),
            **self.bar.idle(),
        }

    def stop(self, request: gr.Request) -> Updates:
        """Ask the visitor's run to stop at the next layer."""
        if self.site.stops.stop(str(request.session_hash)):
            return {self.bar.status: status("Stopping at the next layer …", "busy")}
        return self.bar.idle()

    def failed(self) -> Updates:
        """The run could not even queue: give the buttons back and say so."""
        return {
            **self.bar.idle(),
            self.bar.status: status("Too many visitors are waiting for the engine: try again in a minute.", "error"),
        }

    def _request(self, visitor: Visitor, pasted: str, values: tuple[Any, ...]) -> tuple[Setup, RunRequest]:
        return asked(self.site, self.controls, visitor, pasted, values)

    def _drawn(self, visitor: Visitor, live: LiveRun, figures: bool) -> Updates:
        """Updates of the panes, and of the figures where they are due."""
        updates = self.compare.updates(live, figures)
        if figures and live.view.pruned.layers_done and visitor.ran is not None:
            stored = kept.stored_map(live.view.pruned, visitor.ran.config(), visitor.evidence)
            self.site.results.put(visitor.key, stored)
            updates |= self.kept.drawn(stored, visitor.key)
        return updates

    def _marked(self, visitor: Visitor) -> Updates:
        """The document with its marks, once, at the end."""
        stored = self.site.results.get(visitor.key)
        return {} if stored is None else {self.kept.text: kept.text_html(stored)}
