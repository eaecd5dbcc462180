"""What visitors had read, kept for their next questions: within bounds, each visitor's own, gone with the visit."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from torch import nn

from sliminfer.documents.document import MIB
from sliminfer.engine.events import Side
from sliminfer.engine.reading import Reading, asked_for, reading_layer
from sliminfer.engine.reading_shelf import ReadingFiles, ReadingShelf, Where
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.reading import SparseReading
from viz.page.folders import private_folder

FOLDER = "sliminfer-readings-"


@dataclass(frozen=True)
class ReadingBounds:
    """Most MiB of readings of all visitors together, in each place; 0 for none."""

    device_mb: int = 1024
    host_mb: int = 2048
    file_mb: int = 4096


OWN_MACHINE = ReadingBounds()  # where no profile says otherwise


@dataclass(frozen=True)
class ReadingKey:
    """What a reading is of: a model's side, up to a layer, read densely or by some options, and a text.

    `document` is a digest of all that stands before the question, so that nothing is found by who has not the text.
    """

    model: str
    side: Side
    layer: int
    sparse: SparseReading | None
    document: str

    @classmethod
    def of(cls, model: str, side: Side, config: SlimConfig, layers: int, text: str) -> ReadingKey:
        """The key of the reading for `config` of `text` by the model of that name, which has so many layers.

        Raises:
            ConfigError: no reading can stand for the method.
        """
        own = config if side == "pruned" else SlimConfig(method="full")
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(model, side, reading_layer(own, layers), asked_for(own), digest)


@dataclass(frozen=True)
class VisitorReadings:
    """A visitor's readings of one text by both sides of a model, as `ask_all` asks for them."""

    readings: Readings
    visitor_id: str
    model: str
    config: SlimConfig
    layers: int
    text: str

    def takes(self, nbytes: int) -> bool:
        return self.readings.takes(nbytes)

    def find(self, side: Side) -> Reading | None:
        return self.readings.find(self.visitor_id, self._key(side))

    def hold(self, side: Side, reading: Reading) -> None:
        self.readings.hold(self.visitor_id, self._key(side), reading)

    def _key(self, side: Side) -> ReadingKey:
        return ReadingKey.of(self.model, side, self.config, self.layers, self.text)


class Readings:
    """Readings of visitors on a shelf: from the device to the host to a file and away, the least recently used first.

    A visitor is known by what nobody else can say, such as the session's hash. Threads may share it.
    """

    def __init__(self, model_of: Callable[[str], nn.Module | None], bounds: ReadingBounds = OWN_MACHINE) -> None:
        """`model_of` gives the model of a name while it is in memory."""
        self.bounds = bounds
        self._folder: Path | None = None
        self._lock = threading.Lock()

        def model_under(key: Hashable) -> nn.Module | None:
            assert isinstance(key, ReadingKey)
            return model_of(key.model)

        files = ReadingFiles(bounds.file_mb * MIB, self._files, model_under)
        self._shelf = ReadingShelf(bounds.device_mb * MIB, bounds.host_mb * MIB, files)

    def hold(self, visitor_id: str, key: ReadingKey, reading: Reading) -> bool:
        """Keep `reading` for the visitor, in place of what was under `key`; whether there is room for it at all."""
        return self._shelf.put(visitor_id, key, reading)

    def takes(self, nbytes: int) -> bool:
        """Whether a reading of so many bytes could be held."""
        return self._shelf.takes(nbytes)

    def find(self, visitor_id: str, key: ReadingKey) -> Reading | None:
        """The visitor's reading under `key`, to be asked with a whole request; None where it has to be read anew."""
        return self._shelf.find(visitor_id, key)

    def forget(self, visitor_id: str) -> None:
        """The visit is over: let go of all that is its own. May wait for a file that is being written."""
        self._shelf.forget(visitor_id)

    def forget_idle(self, seconds: float) -> None:
        """Let go of what nobody asked about for so long, as of visits whose end nobody told."""
        self._shelf.forget_idle(seconds)

    @property
    def held(self) -> dict[Where, int]:
        """Bytes in each place."""
        return self._shelf.held

    def close(self) -> None:
        """Remove the folder; the page is over."""
        with self._lock:
            if self._folder is not None:
                rmtree(self._folder, ignore_errors=True)

    def _files(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = Path(private_folder(FOLDER))
            return self._folder
