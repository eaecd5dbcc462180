"""Readings that wait for questions: on the device, the host, in a file, then gone, the least recently used first."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from torch import nn

from sliminfer.engine.reading import Reading
from sliminfer.engine.reading_file import file_bytes, load_reading, save_reading
from sliminfer.errors import ConfigError

Owner: TypeAlias = str
Where = Literal["device", "host", "file"]


@dataclass(frozen=True)
class ReadingFiles:
    """Where a shelf writes what it has no memory for.

    Attributes:
        most_bytes: of all files together.
        folder: gives the folder, which nobody else looks into; called once there is something to write.
        model_of: the model that the reading under a key is of, None where it is not in memory: what is read from a file
            is told from readings of other models by it.
    """

    most_bytes: int
    folder: Callable[[], Path]
    model_of: Callable[[Hashable], nn.Module | None]


@dataclass
class _Held:
    """One reading, either in memory or in a file; `used` by the monotonic clock."""

    where: Where
    nbytes: int
    used: float
    reading: Reading | None = None
    file: Path | None = None


@dataclass
class ReadingShelf:
    """Readings of several owners under keys of their own, within bounds in bytes; threads may share it.

    What nobody asked about for longest goes first: from the device to the host, from there into a file, then for
    good. A reading that is larger than a whole place passes it by. Nothing of one owner is ever given to another. What
    is held has lost its request, and with it the document's text.

    Attributes:
        device_bytes, host_bytes: most bytes held in either place.
        files: the last place, None for none.
    """

    device_bytes: int
    host_bytes: int
    files: ReadingFiles | None = None
    _all: OrderedDict[tuple[Owner, Hashable], _Held] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def put(self, owner: Owner, key: Hashable, reading: Reading) -> bool:
        """Keep `reading` for `owner` under `key`, in place of what was there, as used last; False where it has no room.
        """
        place, nbytes = (owner, key), reading.nbytes
        with self._lock:
            self._drop(place)
            self._all[place] = _Held("device", nbytes, time.monotonic(), replace(reading, request=None))
            if nbytes > self.device_bytes:
                self._to_host(place)
            self._make_room()
            return place in self._all

    def takes(self, nbytes: int) -> bool:
        """Whether a reading of so many bytes has room in any place, if need be instead of all others."""
        return nbytes <= max(self.device_bytes, self.host_bytes, 0 if self.files is None else self.files.most_bytes)

    def find(self, owner: Owner, key: Hashable) -> Reading | None:
        """What the owner has under `key`, wherever it is held; it counts as used last. None where there is none.

        A file that is damaged, or of another model, is gone.
        """
        place = (owner, key)
        with self._lock:
            held = self._all.get(place)
            if held is None:
                return None
            self._all.move_to_end(place)
            held.used = time.monotonic()
            if held.reading is not None:
                return held.reading
            assert held.file is not None
            assert self.files is not None
            model = self.files.model_of(key)
            if model is None:
                return None
            try:
                reading = load_reading(held.file, model)
            except ConfigError:
                self._drop(place)
                return None
            if reading.nbytes <= self.host_bytes:
                held.file.unlink(missing_ok=True)
                held.where, held.nbytes, held.reading, held.file = "host", reading.nbytes, reading, None
                self._make_room()
            return reading

    def keys(self, owner: Owner) -> list[Hashable]:
        """What `owner` has readings under, the one used last at the end."""
        with self._lock:
            return [key for whose, key in self._all if whose == owner]

    def forget(self, owner: Owner) -> None:
        """Let go of everything of `owner`, as when a session ends."""
        with self._lock:
            for place in [place for place in self._all if place[0] == owner]:
                self._drop(place)

    def forget_idle(self, seconds: float) -> None:
        """Let go of what nobody asked about for so long."""
        since = time.monotonic() - seconds
        with self._lock:
            for place in [place for place, held in self._all.items() if held.used < since]:
                self._drop(place)

    @property
    def held(self) -> dict[Where, int]:
        """Bytes in each place."""
        with self._lock:
            return {"device": self._bytes("device"), "host": self._bytes("host"), "file": self._bytes("file")}

    def _make_room(self) -> None:
        while self._bytes("device") > self.device_bytes:
            self._to_host(self._oldest("device"))
        while self._bytes("host") > self.host_bytes:
            self._to_file(self._oldest("host"))

    def _to_host(self, place: tuple[Owner, Hashable]) -> None:
        held = self._all[place]
        assert held.reading is not None
        if held.nbytes > self.host_bytes:
            self._to_file(place)
        else:
            held.where, held.reading = "host", held.reading.to("cpu")

    def _to_file(self, place: tuple[Owner, Hashable]) -> None:
        held, files = self._all[place], self.files
        assert held.reading is not None
        size, model = file_bytes(held.reading), None if files is None else files.model_of(place[1])
        if files is None or model is None or size > files.most_bytes:
            self._drop(place)
            return
        while self._bytes("file") + size > files.most_bytes:
            self._drop(self._oldest("file"))
        try:
            file = files.folder() / f"{secrets.token_hex(16)}.safetensors"
            save_reading(held.reading, file, model)
        except (ConfigError, OSError):  # a disk that is full: it is read anew
            self._drop(place)
            return
        held.where, held.nbytes, held.reading, held.file = "file", size, None, file

    def _drop(self, place: tuple[Owner, Hashable]) -> None:
        held = self._all.pop(place, None)
        if held is not None and held.file is not None:
            held.file.unlink(missing_ok=True)

    def _oldest(self, where: Where) -> tuple[Owner, Hashable]:
        return next(place for place, held in self._all.items() if held.where == where)

    def _bytes(self, where: Where) -> int:
        return sum(held.nbytes for held in self._all.values() if held.where == where)
