"""LiveRun: a run under way, the figures' RunView with what only the page needs: the clock and the stop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from sliminfer.events import Event, Side, Stopped
from viz.figures.run import RunView, SideView

Phase = Literal["waiting", "reading", "answering", "done", "stopped", "failed"]


@dataclass(frozen=True)
class LiveRun:
    """A run as far as it has come.

    Attributes:
        view: both sides, as the figures draw them.
        now: seconds on the engine's clock at the last event of the side that is running.
        stopped: the side that was stopped, if one was.
    """

    view: RunView = field(default_factory=RunView)
    now: float = 0.0
    stopped: Side | None = None

    def after(self, event: Event) -> LiveRun:
        """The run once `event` has happened."""
        if isinstance(event, Stopped):
            return replace(self, stopped=event.side, now=event.at)
        return replace(self, view=self.view.after(event), now=event.at)

    def halted(self) -> LiveRun:
        """The run once its visitor has stopped it."""
        side = self.view.pruned if self.view.pruned.prompt is not None else self.view.full
        return replace(self, stopped=self.stopped or side.side)

    def phase(self, side: SideView) -> Phase:
        """What `side` is doing."""
        if side.error:
            return "failed"
        if side.metrics is not None:
            return "done"
        if self.stopped == side.side:
            return "stopped"
        if side.prompt is None:
            return "waiting"
        return "answering" if side.pieces else "reading"

    @property
    def failure(self) -> str:
        """The message of the side that failed, empty where none did."""
        return self.view.full.error or self.view.pruned.error


def alive_per_layer(side: SideView) -> list[int]:
    """Prompt tokens that each layer run so far ran over, in layer order."""
    if side.prompt is None:
        return []
    steps = {event.layer: len(event.kept) for event in side.pruned}
    alive, tokens = [], len(side.prompt)
    for layer in range(side.layers_done):
        tokens = steps.get(layer, tokens)
        alive.append(tokens)
    return alive
