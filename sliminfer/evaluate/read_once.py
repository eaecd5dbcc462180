"""Examples that ask several questions about one document: the document is read once on each side, for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, Side
from sliminfer.engine.reading import Reading, asked_for, reading_layer, rotates_otherwise, shared
from sliminfer.engine.reading_shelf import ReadingShelf
from sliminfer.engine.request import PromptRequest
from sliminfer.errors import ConfigError
from sliminfer.model.devices import free_memory
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.reading import SparseReading

_Kind: TypeAlias = tuple[Side, int, SparseReading | None]
_Key: TypeAlias = tuple[_Kind, tuple[int, ...]]

# A prompt that has less than this share in common with what is held begins another document.
_SAME = 0.9
# Readings take a third of the free memory at most: runs need the rest.
_OF_FREE = 3


@dataclass
class ReadOnce:
    """Runs prompts, each through a reading of what it has in common with an earlier one of its kind, suite and context.

    Suites take documents in turns, so that readings wait on a shelf, within a share of the memory that is free.

    Attributes:
        tokens_read, read_s: tokens that readings took, and the seconds.
        tokens_saved: tokens of prompts that were not read again.
    """

    engine: SlimEngine
    tokens_read: int = 0
    read_s: float = 0.0
    tokens_saved: int = 0
    _shelf: ReadingShelf = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._shelf = ReadingShelf(sum(map(free_memory, self.engine.loaded.devices)) // _OF_FREE, 0)

    def run(self, kind: tuple[str, int], asked: PromptRequest, side: Side) -> Iterator[Event]:
        """The events of one side, as `SlimEngine.run` gives them; afresh where no reading can answer."""
        config = asked.pruning.config if side == "pruned" else SlimConfig(method="full")
        before = asked.prompt.ids[: asked.prompt.question[0]]
        try:
            layer = reading_layer(config, self.engine.loaded.layers)
        except ConfigError:
            return self.engine.run(asked, side)
        if not before or rotates_otherwise(self.engine.loaded.model.config, len(before), len(asked.prompt)):
            return self.engine.run(asked, side)
        owner = f"{kind[0]} at {kind[1]}"
        wanted = side, layer, asked_for(config)
        held = self._nearest(owner, wanted, before)
        if held is None or held.shared(before) < _SAME * len(before):
            known = 0 if held is None else held.shared(before[:-1])
            started = time.perf_counter()
            try:
                reading = self.engine.read(asked, side, held)
            except ConfigError:  # layers with a state, such as linear attention
                return self.engine.run(asked, side)
            self.read_s += time.perf_counter() - started
            self.tokens_read += len(reading) - known
            self.tokens_saved += known
            self._shelf.put(owner, (wanted, reading.ids), reading)
        else:
            reading = held
            self.tokens_saved += held.shared(before)
        return self.engine.ask(reading, asked, side)

    def _nearest(self, owner: str, wanted: _Kind, ids: tuple[int, ...]) -> Reading | None:
        """Of the readings of the kind that is wanted the one that shares most of `ids`, at least half of either."""
        best, most = None, 0
        for key in self._shelf.keys(owner):
            held, tokens = cast(_Key, key)
            common = shared(tokens, ids)
            if held == wanted and common > most and 2 * common >= min(len(tokens), len(ids)):
                best, most = key, common
        return None if best is None else self._shelf.find(owner, best)

    def to_dict(self) -> dict[str, Any]:
        """Figures for the result: what was read, what was not read again, and the seconds that it would have taken."""
        rate = self.read_s / self.tokens_read if self.tokens_read else 0.0
        return {
            "tokens_read": self.tokens_read,
            "read_s": self.read_s,
            "tokens_saved": self.tokens_saved,
            "saved_s": self.tokens_saved * rate,
        }
