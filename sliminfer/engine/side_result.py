"""What the events of one side add up to, also while it still runs, and its part of the JSON contract."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from sliminfer.cache import CacheEvent
from sliminfer.cache.records import to_dict as cache_dict
from sliminfer.cache.timeline import measured
from sliminfer.engine.events import (
    BlocksPruned,
    CacheNews,
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
from sliminfer.engine.metrics import RunMetrics
from sliminfer.model.prompts import Prompt


@dataclass(frozen=True)
class SideResult:
    """One side of a run as far as it has got.

    Attributes:
        prompt: what it reads, once it is ready.
        layers: decoder layers of the model; 0 before the prompt is ready.
        layers_done: layers already run over the prompt; a method that reads twice begins again at 0.
        alive: prompt tokens that each of them ran over [layers_done].
        tokenize_s: seconds that making the prompt took; NaN before it is ready.
        pruned: prune steps so far, by rising layer.
        pieces: text of each answer token so far [tokens].
        piece_at: when each of them was on the host, seconds since the prompt was ready [tokens].
        cache: what the KV cache told of itself, for `sliminfer.cache.timeline`; nothing without `active`.
        ended: the event that ended it; None while it goes on.
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
    ended: Finished | Stopped | Failed | None = None

    def after(self, event: Event) -> SideResult:
        """This side once `event` (of this side) has happened: a prompt begins it afresh."""
        match event:
            case PromptReady():
                return SideResult(event.side, event.prompt, event.layers, tokenize_s=event.tokenize_s)
            case LayerDone():
                alive = (*self.alive[: event.layer], event.alive)
                return replace(self, layers_done=event.layer + 1, alive=alive)
            case BlocksPruned():
                return replace(self, pruned=(*self.pruned, event))
            case FirstToken() | Token():
                return replace(self, pieces=(*self.pieces, event.text), piece_at=(*self.piece_at, event.at))
            case CacheNews():
                return replace(self, cache=(*self.cache, event.change))
            case Finished() | Stopped() | Failed():
                return replace(self, ended=event)
        return self

    @property
    def finished(self) -> Finished | None:
        """The last event of a side that came to its end."""
        return self.ended if isinstance(self.ended, Finished) else None

    @property
    def metrics(self) -> RunMetrics | None:
        """All figures, once the side has finished."""
        return None if self.finished is None else self.finished.metrics

    @property
    def error(self) -> str:
        """One sentence if the side failed, else empty."""
        return self.ended.message if isinstance(self.ended, Failed) else ""

    @property
    def reason(self) -> str:
        """Why the answer ended: eos, length or stopped; empty while it goes on and for a side that failed."""
        if self.finished is not None:
            return self.finished.reason
        return "stopped" if isinstance(self.ended, Stopped) else ""

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.ended.text if isinstance(self.ended, Finished | Stopped) else "".join(self.pieces)

    @property
    def ttft_s(self) -> float:
        """Time to first token in seconds; NaN before it."""
        if self.metrics is not None:
            return self.metrics.ttft_s
        return self.piece_at[0] if self.piece_at else math.nan

    @property
    def tokens_per_s(self) -> float:
        """New tokens after the first over the time they took; NaN for fewer than two."""
        if self.metrics is not None:
            return self.metrics.decode_tokens_per_s
        spent = self.piece_at[-1] - self.piece_at[0] if self.piece_at else 0.0
        return (len(self.piece_at) - 1) / spent if spent > 0 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """This side in the JSON contract: its figures or its error; empty for one that has come to neither."""
        if self.error:
            return {"error": self.error}
        if self.finished is None:
            return {}
        data = _figures(self.finished) | {"pieces": list(self.pieces)}
        if self.cache:
            data["cache"] = _cache(self.finished.metrics, self.cache)
        return data


def _figures(event: Finished) -> dict[str, Any]:
    m = event.metrics
    data: dict[str, Any] = {
        "text": event.text,
        "reason": event.reason,
        "ttft_s": m.ttft_s,
        "tokenize_s": m.tokenize_s,
        "select_s": m.select_s,
        "decode_tokens_per_s": m.decode_tokens_per_s,
        "new_tokens": m.new_tokens,
        "token_at": list(m.token_at),
        "kv_bytes": m.kv.total_device + m.kv.total_host,
        **({"kv_host_bytes": m.kv.total_host} if m.kv.total_host else {}),
        "prompt_kv_bytes": m.prompt_kv.total_device,
        "peak_bytes": m.peak_bytes,
        **({"read_tokens": m.read_tokens, "reading_bytes": m.reading_bytes} if m.read_tokens else {}),
        "weights_bytes": m.weights_bytes,
        "prefill_flops": m.prefill_flops,
        "tokens_per_layer": list(m.tokens_per_layer),
        "attention": m.attention,
        "kernels": m.kernels,
        "decoding": m.decoding,
        "first_entropy": m.first_entropy,
        "warm": m.warm,
    }
    if m.outside_flops or m.outside_s:
        data |= {"outside_s": m.outside_s, "outside_flops": m.outside_flops}
    if m.note:
        data["note"] = m.note
    if m.blocks_read or m.dense_because:
        data["reading"] = {"blocks_read": list(m.blocks_read), "dense_because": m.dense_because}
    if event.side == "pruned":
        data["kept"] = [kept.to_dict() for kept in m.kept]
    return data


def _cache(metrics: RunMetrics, events: tuple[CacheEvent, ...]) -> dict[str, Any]:
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
