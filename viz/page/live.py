"""LiveRun: a run under way, the engine's RunResult with what only the page needs: clock, stop, rounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from sliminfer.engine.events import Event, PromptReady, Retimed, Side, Stopped
from sliminfer.engine.metrics import RunMetrics
from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.engine.timing import Timing

Phase = Literal["waiting", "reading", "answering", "done", "stopped", "failed"]
Round = tuple[RunMetrics, RunMetrics]


@dataclass(frozen=True)
class LiveRun:
    """A run as far as it has come.

    Attributes:
        view: both sides of the current round.
        now: seconds on the engine's clock at the last event of the side that is running.
        stopped: the side that was stopped, if one was.
        of: rounds that were asked for; each runs both sides once.
        earlier: figures (full, pruned) of the rounds before the current one.
    """

    view: RunResult = field(default_factory=RunResult)
    now: float = 0.0
    stopped: Side | None = None
    of: int = 1
    earlier: tuple[Round, ...] = ()

    def after(self, event: Event) -> LiveRun:
        """The run once `event` has happened."""
        if isinstance(event, PromptReady) and event.side == "full" and self.view.comparison is not None:
            return LiveRun(RunResult().after(event), of=self.of, earlier=self.rounds)
        if isinstance(event, Retimed):
            return replace(self, view=self.view.after(event))
        stopped = event.side if isinstance(event, Stopped) else self.stopped
        return replace(self, view=self.view.after(event), now=event.at, stopped=stopped)

    def halted(self) -> LiveRun:
        """The run once its visitor has stopped it."""
        return replace(self, stopped=self.stopped or self.view.latest.side)

    def phase(self, side: SideResult) -> Phase:
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
    def rounds(self) -> tuple[Round, ...]:
        """Figures (full, pruned) of every round that both sides have finished."""
        full, pruned = self.view.full.metrics, self.view.pruned.metrics
        return (*self.earlier, (full, pruned)) if full is not None and pruned is not None else self.earlier

    @property
    def timing(self) -> Timing | None:
        """Times to first token of all pairs that ran, once both sides have finished."""
        known = self.view.timing
        if known is None:
            return None
        earlier = tuple((full.ttft_s, pruned.ttft_s) for full, pruned in self.earlier)
        return replace(known, pairs=(*earlier, *known.pairs))

    @property
    def complete(self) -> bool:
        """Whether every round is done."""
        return self.view.comparison is not None and len(self.rounds) == self.of

    @property
    def failure(self) -> str:
        """The message of the side that failed, empty where none did."""
        return self.view.full.error or self.view.pruned.error
