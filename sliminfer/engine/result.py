"""RunResult: the one place where the engine's events are added up. Command line, figures and page read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from sliminfer.engine.events import Compared, Event, Failed, Finished, PromptReady, Retimed, Side, Stopped
from sliminfer.engine.metrics import Comparison
from sliminfer.engine.side_result import SideResult
from sliminfer.engine.timing import Pair, Timing
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import SlimConfig


@dataclass(frozen=True)
class RunResult:
    """What the events of a run add up to, also while it still runs: each event gives the next value.

    Attributes:
        full, pruned: both sides as far as they have got.
        comparison: ratios and fidelity, once both sides have finished.
        again: (full, pruned) seconds to the first token of each pair of prefills that ran for the clock alone.
        raced: whether both sides ran at the same time, each on a device of its own.
    """

    full: SideResult = field(default_factory=lambda: SideResult("full"))
    pruned: SideResult = field(default_factory=lambda: SideResult("pruned"))
    comparison: Comparison | None = None
    again: tuple[Pair, ...] = ()
    raced: bool = False

    @classmethod
    def of(cls, events: Iterable[Event]) -> RunResult:
        """The result of a whole stream."""
        return reduce(cls.after, events, cls())

    def after(self, event: Event) -> RunResult:
        """The run once `event` has happened. A side that begins afresh is not compared any more."""
        if isinstance(event, Compared):
            return replace(self, comparison=event.comparison, raced=event.raced)
        if isinstance(event, Retimed):
            return replace(self, again=(*self.again, (event.full_s, event.pruned_s)))
        now = self
        if isinstance(event, PromptReady):
            now = replace(self, comparison=None, again=(), raced=False)
        if event.side == "full":
            return replace(now, full=self.full.after(event))
        return replace(now, pruned=self.pruned.after(event))

    @property
    def timing(self) -> Timing | None:
        """The times to first token of all pairs, once both sides have finished."""
        full, pruned = self.full.metrics, self.pruned.metrics
        if full is None or pruned is None or self.comparison is None:
            return None
        return Timing(((full.ttft_s, pruned.ttft_s), *self.again), self.comparison.ttft_flops)

    @property
    def sides(self) -> tuple[SideResult, SideResult]:
        """Full, pruned: the order in which they run."""
        return self.full, self.pruned

    @property
    def latest(self) -> SideResult:
        """The side that is running, or ran last."""
        return self.full if self.pruned.prompt is None else self.pruned

    @property
    def prompt(self) -> Prompt | None:
        """The prompt, once it is ready."""
        return self.full.prompt or self.pruned.prompt

    @property
    def finished(self) -> dict[Side, Finished]:
        """The last event of each side that finished."""
        return {side.side: side.finished for side in self.sides if side.finished is not None}

    @property
    def failed(self) -> dict[Side, str]:
        """The message of each side that did not."""
        return {side.side: side.ended.message for side in self.sides if isinstance(side.ended, Failed)}

    @property
    def stopped(self) -> dict[Side, str]:
        """The answer so far of each side that was stopped from outside."""
        return {side.side: side.ended.text for side in self.sides if isinstance(side.ended, Stopped)}

    def to_dict(self, model: str, config: SlimConfig) -> dict[str, Any]:
        """Plain data in the form of the command line's JSON contract; NaN where a figure does not exist."""
        metrics = self.full.metrics or self.pruned.metrics
        data: dict[str, Any] = {
            "model": model,
            "device": metrics.device if metrics else None,
            "dtype": metrics.dtype if metrics else None,
            "prompt_tokens": len(self.prompt) if self.prompt else None,
            "question_tokens": list(self.prompt.question) if self.prompt else None,
            "config": config.to_dict(),
        }
        data |= {side.side: told for side in self.sides if (told := side.to_dict())}
        if self.comparison is not None:
            c = self.comparison
            data["speedup"] = {
                "ttft": c.ttft,
                "ttft_flops": c.ttft_flops,
                "efficiency": c.efficiency,
                "kv_bytes": c.kv_bytes,
            }
            if self.again and self.timing is not None:
                data["timing"] = self.timing.to_dict()
            if self.raced:
                data["raced"] = True
            data["fidelity"] = {"first_token_kl": c.first_token_kl, "agreement": c.agreement}
        return data
