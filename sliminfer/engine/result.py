"""The result of a comparison, gathered from the engine's events, and its JSON form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sliminfer.cache import CacheEvent
from sliminfer.cache.records import to_dict as cache_dict
from sliminfer.cache.timeline import measured
from sliminfer.engine.events import (
    BlocksPruned,
    CacheNews,
    Compared,
    Event,
    Failed,
    Finished,
    PromptReady,
    Side,
    Stopped,
)
from sliminfer.engine.metrics import Comparison, RunMetrics
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import SlimConfig


@dataclass
class RunResult:
    """What the events of a run add up to; `add` may be called as they come.

    Attributes:
        prompt: the prompt, once it is ready.
        finished: the last event of each side that finished.
        failed: the message of each side that did not.
        pruned: what was pruned on the way, in layer order.
        cache: what the pruned side's KV cache told, in order; nothing without `active`.
        comparison: ratios and fidelity, once both sides have finished.
    """

    prompt: Prompt | None = None
    finished: dict[Side, Finished] = field(default_factory=dict)
    failed: dict[Side, str] = field(default_factory=dict)
    stopped: dict[Side, str] = field(default_factory=dict)
    pruned: list[BlocksPruned] = field(default_factory=list)
    cache: list[CacheEvent] = field(default_factory=list)
    comparison: Comparison | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> RunResult:
        """The result of a whole stream."""
        result = cls()
        for event in events:
            result.add(event)
        return result

    def add(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, PromptReady):
            self.prompt = event.prompt
        elif isinstance(event, BlocksPruned):
            self.pruned.append(event)
        elif isinstance(event, CacheNews):
            self.cache.append(event.change)
        elif isinstance(event, Finished):
            self.finished[event.side] = event
        elif isinstance(event, Failed):
            self.failed[event.side] = event.message
        elif isinstance(event, Stopped):
            self.stopped[event.side] = event.text
        elif isinstance(event, Compared):
            self.comparison = event.comparison

    def to_dict(self, model: str, config: SlimConfig) -> dict[str, Any]:
        """Plain data in the form of the command line's JSON contract; NaN where a figure does not exist."""
        any_side = next(iter(self.finished.values()), None)
        data: dict[str, Any] = {
            "model": model,
            "device": any_side.metrics.device if any_side else None,
            "dtype": any_side.metrics.dtype if any_side else None,
            "prompt_tokens": len(self.prompt) if self.prompt else None,
            "config": config.to_dict(),
        }
        for side in ("full", "pruned"):
            if side in self.finished:
                data[side] = _side(self.finished[side])
            elif side in self.failed:
                data[side] = {"error": self.failed[side]}
        if self.cache and "pruned" in self.finished:
            data["pruned"]["cache"] = _cache(self.finished["pruned"].metrics, self.cache)
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


def _cache(metrics: RunMetrics, events: list[CacheEvent]) -> dict[str, Any]:
    timeline = measured(events, metrics.token_at)
    return {
        "device_bytes": metrics.prompt_kv.total_device,
        "host_bytes": metrics.prompt_kv.total_host,
        "swaps": timeline.swaps,
        "loaded_bytes": int(timeline.moved_bytes.sum()),
        "transfer_s": float(timeline.transfer_s.sum()),
        "stall_s": float(timeline.stall_s.sum()),
        "hidden": timeline.hidden,
        "events": [cache_dict(event) for event in events],
    }


def _side(event: Finished) -> dict[str, Any]:
    m = event.metrics
    data: dict[str, Any] = {
        "text": event.text,
        "reason": event.reason,
        "ttft_s": m.ttft_s,
        "tokenize_s": m.tokenize_s,
        "select_s": m.select_s,
        "decode_tokens_per_s": m.decode_tokens_per_s,
        "new_tokens": m.new_tokens,
        "kv_bytes": m.kv.total_device + m.kv.total_host,
        "prompt_kv_bytes": m.prompt_kv.total_device,
        "peak_bytes": m.peak_bytes,
        "weights_bytes": m.weights_bytes,
        "prefill_flops": m.prefill_flops,
        "tokens_per_layer": list(m.tokens_per_layer),
        "attention": m.attention,
        "kernels": m.kernels,
        "warm": m.warm,
    }
    if event.side == "pruned":
        data["kept"] = [kept.to_dict() for kept in m.kept]
    return data
