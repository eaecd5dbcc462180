"""The cache's events as arrays over decode steps: what the page draws, measured or on a simulated link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sliminfer.cache.planner import Residency
from sliminfer.cache.records import CacheEvent, Refresh, StagePlaced, StepCost
from sliminfer.cache.sim_engine import Link, SimCopyEngine, VirtualClock
from sliminfer.schedule.blocks import Span


@dataclass(frozen=True)
class StageTimeline:
    """Residency of one stage's blocks.

    Attributes:
        states: `Residency` of each block [blocks, steps + 1]; column 0 is the state after prefill, column t
            the state while decode step t ran. A block is LOADING in the step its load takes effect in.
        overlap: share of the working set still wanted [steps + 1]; NaN in steps without a look.
        other attributes: see `StagePlaced`.
    """

    stage: int
    first_layer: int
    end_layer: int
    extents: tuple[Span, ...]
    pinned: tuple[int, ...]
    states: NDArray[np.uint8]
    overlap: NDArray[np.float64]
    note: str


@dataclass(frozen=True)
class Timeline:
    """A request's decode memory, step by step; column 0 is the state after prefill.

    Attributes:
        stages: residency by stage, preserve layers first.
        device_bytes: KV on the device, the answer's included [steps + 1].
        host_bytes: KV on the host [steps + 1].
        full_bytes: KV of the unpruned model at the same step [steps + 1].
        moved_bytes: bytes loaded from the host [steps + 1].
        step_s: seconds of each decode step, stalls included [steps + 1]; column 0 is 0.
        transfer_s: seconds the link was busy with what a step asked for [steps + 1].
        stall_s: seconds the compute waited for blocks [steps + 1].
        simulated: whether the times come from a simulated link.
    """

    stages: tuple[StageTimeline, ...]
    device_bytes: NDArray[np.int64]
    host_bytes: NDArray[np.int64]
    full_bytes: NDArray[np.int64]
    moved_bytes: NDArray[np.int64]
    step_s: NDArray[np.float64]
    transfer_s: NDArray[np.float64]
    stall_s: NDArray[np.float64]
    simulated: bool

    @property
    def hidden(self) -> float:
        """Share of the transfer time that ran beside the compute; NaN where nothing was transferred."""
        busy = float(self.transfer_s.sum())
        return max(0.0, 1.0 - float(self.stall_s.sum()) / busy) if busy else float("nan")

    @property
    def swaps(self) -> int:
        """Looks that led to an exchange."""
        return int(sum(int((stage.states == Residency.LOADING).any(0).sum()) for stage in self.stages))


def measured(events: Iterable[CacheEvent], token_at: Sequence[float]) -> Timeline:
    """The timeline with the times as they were.

    Args:
        events: everything `SlimCache.drain_events` gave, in order.
        token_at: when each new token was there, in seconds, at least one; the first came from the prefill.
    """
    events = list(events)
    steps = len(token_at) - 1
    transfer_s, stall_s = np.zeros(steps + 1), np.zeros(steps + 1)
    for event in events:
        if isinstance(event, StepCost) and event.step <= steps:
            transfer_s[event.step] += event.transfer_s
            stall_s[event.step] += event.stall_s
    step_s = np.diff(np.asarray(token_at, dtype=np.float64), prepend=token_at[0])
    return _timeline(events, steps, step_s, transfer_s, stall_s, simulated=False)


def replay(events: Iterable[CacheEvent], steps: int, layer_s: float, link: Link) -> Timeline:
    """The timeline as it would be over `link`, with every layer computing for `layer_s` seconds.

    The same plan is played through `SimCopyEngine`: each layer waits for its own blocks, the layers before
    it compute meanwhile. No timing can change a token, so no model has to run again.

    Args:
        events: everything `SlimCache.drain_events` gave, in order.
        steps: decode steps.
        layer_s: seconds that one layer computes for one token.
        link: bandwidth and latency between host and device.
    """
    events = list(events)
    placed = {event.stage: event for event in events if isinstance(event, StagePlaced)}
    asked = _loads_by_step(events)
    clock = VirtualClock()
    engine = SimCopyEngine(clock, link)
    for stage in placed.values():
        if stage.host_bytes:
            _submit(engine, stage, stage.tokens * stage.token_bytes)
    step_s, transfer_s, stall_s = np.zeros(steps + 1), np.zeros(steps + 1), np.zeros(steps + 1)
    transfer_s[0] = engine.stats().transfer_s
    layers = max((stage.end_layer for stage in placed.values()), default=0)
    for step in range(1, steps + 1):
        start, before = clock.now, engine.stats()
        tickets: dict[int, int] = {}
        for refresh in asked.get(step, ()):
            tickets |= _submit(engine, placed[refresh.stage], refresh.nbytes)
        for layer in range(layers):
            if layer in tickets:
                engine.wait(tickets[layer])
            clock.advance(layer_s)
        cost = engine.stats().since(before)
        step_s[step], transfer_s[step], stall_s[step] = clock.now - start, cost.transfer_s, cost.stall_s
    return _timeline(events, steps, step_s, transfer_s, stall_s, simulated=True)


@dataclass(frozen=True)
class _Bytes:
    """A copy that only takes time."""

    nbytes: int

    def run(self) -> None:
        """Nothing to move."""


def _submit(engine: SimCopyEngine, stage: StagePlaced, nbytes: int) -> dict[int, int]:
    layers = range(stage.first_layer, stage.end_layer)
    return {layer: engine.submit([_Bytes(nbytes // len(layers))]) for layer in layers}


def _loads_by_step(events: Iterable[CacheEvent]) -> dict[int, list[Refresh]]:
    found: dict[int, list[Refresh]] = {}
    for event in events:
        if isinstance(event, Refresh) and event.loads:
            found.setdefault(event.step, []).append(event)
    return found


def _timeline(
    events: list[CacheEvent],
    steps: int,
    step_s: NDArray[np.float64],
    transfer_s: NDArray[np.float64],
    stall_s: NDArray[np.float64],
    simulated: bool,
) -> Timeline:
    placed = [event for event in events if isinstance(event, StagePlaced)]
    looks = [event for event in events if isinstance(event, Refresh) and event.step <= steps]
    token_bytes = sum(stage.token_bytes for stage in placed)
    answer = token_bytes * np.arange(steps + 1, dtype=np.int64)
    moved = np.zeros(steps + 1, dtype=np.int64)
    for look in looks:
        moved[look.step] += look.nbytes
    return Timeline(
        stages=tuple(_stage(stage, [look for look in looks if look.stage == stage.stage], steps) for stage in placed),
        device_bytes=sum(stage.device_bytes for stage in placed) + answer,
        host_bytes=np.full(steps + 1, sum(stage.host_bytes for stage in placed), dtype=np.int64),
        full_bytes=(placed[0].tokens if placed else 0) * token_bytes + answer,
        moved_bytes=moved,
        step_s=step_s,
        transfer_s=transfer_s,
        stall_s=stall_s,
        simulated=simulated,
    )


def _stage(placed: StagePlaced, looks: Sequence[Refresh], steps: int) -> StageTimeline:
    states = np.full((len(placed.extents), steps + 1), Residency.HOST, dtype=np.uint8)
    states[list(placed.resident)] = Residency.DEVICE
    overlap = np.full(steps + 1, np.nan)
    for look in looks:
        overlap[look.step] = look.overlap
        loaded = [block for block, _ in look.loads]
        states[list(look.frees), look.step :] = Residency.HOST
        states[loaded, look.step :] = Residency.DEVICE
        states[loaded, look.step] = Residency.LOADING
    return StageTimeline(
        stage=placed.stage,
        first_layer=placed.first_layer,
        end_layer=placed.end_layer,
        extents=placed.extents,
        pinned=placed.pinned,
        states=states,
        overlap=overlap,
        note=placed.note,
    )
