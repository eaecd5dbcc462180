"""What the engine tells while it works: one stream of frozen events, read by page, CLI and reports alike.

Every event carries `side` ("full" or "pruned") and `at`, seconds since the prompt's ids were ready on the
device, on the engine's clock. Arrays are numpy and live on the host, so events can be pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sliminfer.cache.records import CacheEvent
from sliminfer.engine.metrics import Comparison, RunMetrics
from sliminfer.model.prompts import Prompt

Side = Literal["full", "pruned"]


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    side: Side
    at: float


@dataclass(frozen=True)
class PromptReady(Event):
    """The prompt is tokenised and on the device; the clock starts now (`at` is 0)."""

    prompt: Prompt
    tokenize_s: float
    layers: int


@dataclass(frozen=True)
class ScoredOutside(Event):
    """Of scoring the prompt from outside the model, by a draft model above all, `done` of `total` steps are done."""

    done: int
    total: int


@dataclass(frozen=True)
class LayerDone(Event):
    """Layer `layer` of `layers` has been run (on a GPU: queued) over `alive` prompt tokens."""

    layer: int
    layers: int
    alive: int


@dataclass(frozen=True)
class BlocksPruned(Event):
    """Before layer `layer`, the prompt shrank from `alive_before` to `len(kept)` tokens.

    Attributes:
        kept: ascending original positions that go on, int32 [kept].
        block_size: tokens per block of `scores`.
        scores: score of each block of the whole prompt, float32 [blocks]; NaN where the block was already
            gone; None where the method scores nothing or scores single tokens.
        threshold: lowest score that was kept by score rather than by force; NaN where nothing was.
        forced: ids of the blocks that are always kept.
    """

    layer: int
    alive_before: int
    kept: NDArray[np.int32]
    block_size: int
    scores: NDArray[np.float32] | None
    threshold: float
    forced: tuple[int, ...]


@dataclass(frozen=True)
class FirstToken(Event):
    """The first answer token is on the host: `at` is the time to first token (TTFT) in seconds."""

    token: int
    text: str


@dataclass(frozen=True)
class Token(Event):
    """Answer token number `index` (the first one, index 0, is announced by FirstToken)."""

    index: int
    token: int
    text: str


@dataclass(frozen=True)
class CacheNews(Event):
    """The KV cache placed survivors, looked at a working set, or moved blocks; see `cache.timeline`."""

    change: CacheEvent


@dataclass(frozen=True)
class Finished(Event):
    """The side is done; `reason` says why the answer ends there."""

    text: str
    reason: Literal["eos", "length"]
    metrics: RunMetrics


@dataclass(frozen=True)
class Stopped(Event):
    """The side was stopped from outside at a layer boundary, after the answer `text`."""

    text: str


@dataclass(frozen=True)
class Failed(Event):
    """The side could not finish; the engine is ready for the next request."""

    message: str


@dataclass(frozen=True)
class Compared(Event):
    """Both sides are done: ratios and fidelity (`side` is "pruned", the second to run).

    `raced` where they ran at the same time, each on a device of its own.
    """

    comparison: Comparison = field(repr=False)
    raced: bool = False


@dataclass(frozen=True)
class Retimed(Event):
    """Both prefills ran once more for the clock alone: seconds to the first token of each side."""

    full_s: float
    pruned_s: float
