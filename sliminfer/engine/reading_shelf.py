"""Readings that wait for more questions: on the device, then on the host, then gone, the least recently used first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sliminfer.engine.events import Side
from sliminfer.engine.reading import Reading

Owner: TypeAlias = str


@dataclass(frozen=True)
class Place:
    """One reading: whose it is, and which side's."""

    owner: Owner
    side: Side
    ids: tuple[int, ...]
    layer: int


@dataclass
class ReadingShelf:
    """Readings of several owners within two bounds in bytes; threads may share it.

    What nobody asked about for longest goes first: from the device to the host, from the host for good. A reading that
    alone is larger than both is not kept. Nothing of one owner is ever given to another.

    Attributes:
        device_bytes, host_bytes: most bytes held in either place.
    """

    device_bytes: int
    host_bytes: int
    _device: OrderedDict[Place, Reading] = field(default_factory=OrderedDict, init=False, repr=False)
    _host: OrderedDict[Place, Reading] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def put(self, owner: Owner, side: Side, reading: Reading) -> None:
        """Keep `reading` for `owner`, as the one used last."""
        place = Place(owner, side, reading.ids, reading.layer)
        with self._lock:
            self._host.pop(place, None)
            self._device[place] = reading
            self._device.move_to_end(place)
            self._make_room()

    def find(self, owner: Owner, side: Side, ids: Sequence[int], layer: int) -> Reading | None:
        """The owner's reading for a first prune step at `layer` that holds most of the first of `ids`, at least half.

        It counts as used last, wherever it is held; None where there is none.
        """
        with self._lock:
            best, shared = None, 0
            for held in (self._device, self._host):
                for place, reading in held.items():
                    if (place.owner, place.side, place.layer) == (owner, side, layer):
                        common = reading.shared(ids)
                        if common > shared and 2 * common >= min(len(reading), len(ids)):
                            best, shared = place, common
            if best is None:
                return None
            held = self._device if best in self._device else self._host
            held.move_to_end(best)
            return held[best]

    def forget(self, owner: Owner) -> None:
        """Let go of everything of `owner`, as when a session ends."""
        with self._lock:
            for held in (self._device, self._host):
                for place in [place for place in held if place.owner == owner]:
                    del held[place]

    @property
    def held(self) -> tuple[int, int]:
        """Bytes on the device and on the host."""
        with self._lock:
            return _bytes(self._device), _bytes(self._host)

    def _make_room(self) -> None:
        while self._device and _bytes(self._device) > self.device_bytes:
            place, reading = self._device.popitem(last=False)
            if reading.nbytes <= self.host_bytes:
                self._host[place] = reading.to("cpu")
        while _bytes(self._host) > self.host_bytes:
            self._host.popitem(last=False)


def _bytes(held: OrderedDict[Place, Reading]) -> int:
    return sum(reading.nbytes for reading in held.values())
