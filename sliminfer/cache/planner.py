"""Which blocks of one stage are where, and what to move next. Plain integers only: no tensor, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Residency(IntEnum):
    """Where attention can find a block's keys and values."""

    HOST = 0
    DEVICE = 1
    LOADING = 2


@dataclass(frozen=True)
class Swap:
    """The answer to one look at the working set.

    Attributes:
        wanted: ascending ids of the best `slots` blocks, pinned ones included.
        overlap: share of the working set that `wanted` already has.
        loads: (block, slot) pairs to copy from the host, empty when the overlap is high enough.
        frees: ascending ids of the blocks whose slots are given away; their bytes stay on the host.
    """

    wanted: tuple[int, ...]
    overlap: float
    loads: tuple[tuple[int, int], ...] = ()
    frees: tuple[int, ...] = ()


def top_blocks(scores: Sequence[float], count: int, pinned: Iterable[int] = ()) -> tuple[int, ...]:
    """The pinned blocks and the best-scored others, `count` in all, ascending.

    Ties go to the lower id, as everywhere: stable descending sort, take `count`, sort ascending.
    """
    always = sorted(set(pinned))
    rest = sorted(set(range(len(scores))).difference(always))
    rest.sort(key=lambda block: -scores[block])
    return tuple(sorted(always + rest[: max(0, count - len(always))]))


class Planner:
    """The residency of a stage's survivors over `slots` device slots.

    A block is immutable and has a copy on the host, so freeing a slot moves nothing and only loads cost
    bytes. The working set always has exactly `slots` blocks; `plan` exchanges blocks one for one.
    """

    def __init__(self, scores: Sequence[float], slots: int, pinned: Iterable[int], gamma: float) -> None:
        """Start with the best `slots` of `len(scores)` blocks resident, in ascending order of slots.

        Args:
            scores: one score per block; higher is wanted more.
            slots: device slots, at least as many as there are pinned blocks.
            pinned: blocks that stay resident for good.
            gamma: the working set is left alone while its overlap with the wanted one is at least this.
        """
        self.blocks = len(scores)
        self.slots = slots
        self.pinned = frozenset(pinned)
        self.gamma = gamma
        if not len(self.pinned) <= slots <= self.blocks:
            raise ValueError(f"{slots} slots do not fit {len(self.pinned)} pinned of {self.blocks} blocks.")
        first = top_blocks(scores, slots, self.pinned)
        self._slot_of = {block: slot for slot, block in enumerate(first)}
        self._loading: set[int] = set()

    @property
    def resident(self) -> tuple[int, ...]:
        """Ascending ids of the working set; blocks that are still loading count."""
        return tuple(sorted(self._slot_of))

    @property
    def order(self) -> tuple[int, ...]:
        """Block of each slot, in the order in which attention reads the slots."""
        return tuple(sorted(self._slot_of, key=self._slot_of.__getitem__))

    def state(self, block: int) -> Residency:
        if block in self._loading:
            return Residency.LOADING
        return Residency.DEVICE if block in self._slot_of else Residency.HOST

    def plan(self, scores: Sequence[float]) -> Swap:
        """Compare the working set with the one `scores` asks for, and exchange the difference if it is large.

        Raises ValueError while earlier loads are not confirmed by `loaded`: a slot in flight is never reused.
        """
        if self._loading:
            raise ValueError(f"{len(self._loading)} blocks are still loading: call loaded() first.")
        if len(scores) != self.blocks:
            raise ValueError(f"{len(scores)} scores for {self.blocks} blocks.")
        wanted = top_blocks(scores, self.slots, self.pinned)
        missing = [block for block in wanted if block not in self._slot_of]
        overlap = 1.0 - len(missing) / self.slots
        if not missing or overlap >= self.gamma:
            return Swap(wanted, overlap)
        frees = tuple(block for block in self.resident if block not in set(wanted))
        loads = tuple((block, self._slot_of.pop(old)) for block, old in zip(missing, frees, strict=True))
        self._slot_of.update(loads)
        self._loading.update(missing)
        return Swap(wanted, overlap, loads, frees)

    def loaded(self) -> None:
        """Every block that was loading is on the device now."""
        self._loading.clear()
