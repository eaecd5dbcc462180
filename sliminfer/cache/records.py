"""What the cache tells about itself: frozen records of layout, looks at the working set, and transfers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sliminfer.schedule.blocks import Span


@dataclass(frozen=True)
class StagePlaced:
    """After prefill, the survivors of one stage are in place.

    Attributes:
        stage: index of the stage; 0 are the preserve layers.
        first_layer, end_layer: half-open range of its layers.
        tokens: survivors of the stage.
        extents: original positions of each block, half-open, first to last token.
        pinned: ids of the blocks that never leave the device.
        resident: ids of the blocks on the device; all of them where nothing is managed.
        block_bytes: bytes of one full block in all of the stage's layers together.
        token_bytes: bytes of one token in all of the stage's layers together.
        device_bytes: the prompt's resident KV and unit representatives.
        host_bytes: the survivors' copy on the host, written once; 0 where nothing is managed.
        note: why a stage that should be managed is kept on the device, or "".
    """

    stage: int
    first_layer: int
    end_layer: int
    tokens: int
    extents: tuple[Span, ...]
    pinned: tuple[int, ...]
    resident: tuple[int, ...]
    block_bytes: int
    token_bytes: int
    device_bytes: int
    host_bytes: int
    note: str = ""


@dataclass(frozen=True)
class Refresh:
    """One look at a stage's working set; its loads take effect in decode step `step`.

    Attributes:
        scores: score of each block by the query of the step before.
        overlap: share of the working set that the wanted one already has.
        loads: (block, slot) pairs copied from the host, empty when the overlap is high enough.
        frees: ids of the blocks whose slots were given away.
        nbytes: bytes of the loads in all of the stage's layers.
    """

    step: int
    stage: int
    scores: tuple[float, ...]
    overlap: float
    loads: tuple[tuple[int, int], ...]
    frees: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class StepCost:
    """The transfers of one decode step, as far as they are known at its end.

    Attributes:
        nbytes: bytes of the copies started.
        transfer_s: seconds the link was busy.
        stall_s: seconds the compute waited for blocks.
    """

    step: int
    nbytes: int
    transfer_s: float
    stall_s: float


CacheEvent = StagePlaced | Refresh | StepCost


def to_dict(event: CacheEvent) -> dict[str, Any]:
    """Plain JSON data of `event`, its class under "type"."""
    return {"type": type(event).__name__, **asdict(event)}
