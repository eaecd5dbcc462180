"""What has been heard of a run so far: the engine's events folded into one value that figures draw."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from sliminfer.cache.records import CacheEvent
from sliminfer.engine.events import (
    BlocksPruned,
    CacheNews,
    Compared,
    Event,
    Failed,
    Finished,
    FirstToken,
    LayerDone,
    PromptReady,
    Side,
    Stopped,
    Token,
)
from sliminfer.engine.metrics import Comparison, RunMetrics
from sliminfer.model.prompts import Prompt


@dataclass(frozen=True)
class SideView:
    """One side of a run as far as it has got.

    Attributes:
        layers: decoder layers of the model; 0 before the prompt is ready.
        layers_done: layers already run over the prompt; a method that reads twice begins again at 0.
        alive: prompt tokens that each of them ran over [layers_done].
        pruned: prune steps so far, by rising layer.
        pieces: text of each answer token so far [tokens].
        piece_at: when each of them was on the host, seconds since the prompt was ready [tokens].
        cache: what the KV cache told of itself, for `sliminfer.cache.timeline`.
        reason: why the answer ended: eos, length or stopped; empty while it goes on.
        error: one sentence if the side failed.
    """

    side: Side
    prompt: Prompt | None = None
    layers: int = 0
    layers_done: int = 0
    alive: tuple[int, ...] = ()
    tokenize_s: float = math.nan
    pruned: tuple[BlocksPruned, ...] = ()
    pieces: tuple[str, ...] = ()
    piece_at: tuple[float, ...] = ()
    cache: tuple[CacheEvent, ...] = ()
    metrics: RunMetrics | None = None
    reason: str = ""
    final_text: str | None = None
    error: str = ""

    def after(self, event: Event) -> SideView:
        """This side once `event` (of this side) has happened; events that change nothing return `self`."""
        match event:
            case PromptReady():
                return SideView(self.side, prompt=event.prompt, layers=event.layers, tokenize_s=event.tokenize_s)
            case LayerDone():
                alive = (*self.alive[: event.layer], event.alive)
                return replace(self, layers_done=event.layer + 1, alive=alive)
            case BlocksPruned():
                return replace(self, pruned=(*self.pruned, event))
            case FirstToken() | Token():
                return replace(self, pieces=(*self.pieces, event.text), piece_at=(*self.piece_at, event.at))
            case CacheNews():
                return replace(self, cache=(*self.cache, event.change))
            case Finished():
                return replace(self, metrics=event.metrics, reason=event.reason, final_text=event.text)
            case Stopped():
                return replace(self, reason="stopped", final_text=event.text)
            case Failed():
                return replace(self, error=event.message)
        return self

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self.pieces) if self.final_text is None else self.final_text

    @property
    def ttft_s(self) -> float:
        """Time to first token in seconds; NaN before it."""
        return self.piece_at[0] if self.piece_at else math.nan

    @property
    def tokens_per_s(self) -> float:
        """New tokens after the first over the time they took; NaN for fewer than two."""
        if self.metrics is not None:
            return self.metrics.decode_tokens_per_s
        spent = self.piece_at[-1] - self.piece_at[0] if self.piece_at else 0.0
        return (len(self.piece_at) - 1) / spent if spent > 0 else math.nan


@dataclass(frozen=True)
class RunView:
    """Both sides of a run; `comparison` is there once both are done."""

    full: SideView = field(default_factory=lambda: SideView("full"))
    pruned: SideView = field(default_factory=lambda: SideView("pruned"))
    comparison: Comparison | None = None

    def after(self, event: Event) -> RunView:
        """The run once `event` has happened."""
        if isinstance(event, Compared):
            return replace(self, comparison=event.comparison)
        if event.side == "full":
            return replace(self, full=self.full.after(event))
        return replace(self, pruned=self.pruned.after(event))

    @property
    def sides(self) -> tuple[SideView, SideView]:
        return self.full, self.pruned
