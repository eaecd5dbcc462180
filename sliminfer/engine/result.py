"""RunResult: the one place where the engine's events are added up. Command line, figures and page read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from sliminfer.engine.events import Compared, Event, Failed, Finished, PromptReady, Side, Stopped
from sliminfer.engine.metrics import Comparison
from sliminfer.engine.side_result import SideResult
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import SlimConfig


@dataclass(frozen=True)
class RunResult:
    """What the events of a run add up to, also while it still runs: each event gives the next value.

    Attributes:
        full, pruned: both sides as far as they have got.
        comparison: ratios and fidelity, once both sides have finished.
    """

    full: SideResult = field(default_factory=lambda: SideResult("full"))
    pruned: SideResult = field(default_factory=lambda: SideResult("pruned"))
    comparison: Comparison | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> RunResult:
        """The result of a whole stream."""
        return reduce(cls.after, events, cls())

    def after(self, event: Event) -> RunResult:
        """The run once `event` has happened. A side that begins afresh is not compared any more."""
        if isinstance(event, Compared):
            return replace(self, comparison=event.comparison)
        comparison = None if isinstance(event, PromptReady) else self.comparison
        if event.side == "full":
            return replace(self, full=self.full.after(event), comparison=comparison)
        return replace(self, pruned=self.pruned.after(event), comparison=comparison)

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
            data["fidelity"] = {"first_token_kl": c.first_token_kl, "agreement": c.agreement}
        return data
