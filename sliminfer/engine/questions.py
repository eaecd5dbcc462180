"""Several questions about one document: each side reads once what they share, and each is answered as if alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Compared, Event, Failed, Finished, Side
from sliminfer.engine.metrics import Comparison
from sliminfer.engine.reading import Reading, reading_bytes, reading_layer, rotates_otherwise
from sliminfer.engine.request import PromptRequest, Request
from sliminfer.engine.result import RunResult
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig


@dataclass(frozen=True)
class DocumentRead:
    """One side has read what the questions share.

    Attributes:
        tokens: how much that is.
        seconds: what it took, which no question's time to first token holds.
        nbytes: of the keys, values and hidden states that are kept for the questions.
        flops: of reading it.
        earlier: whether it was read for questions before these, so that nothing was computed and `seconds` are those of
            finding it.
    """

    side: Side
    tokens: int
    seconds: float
    nbytes: int
    flops: float = 0.0
    earlier: bool = False


class KeptReadings(Protocol):
    """Where readings of what the questions share wait for those that come later."""

    def takes(self, nbytes: int) -> bool:
        """Whether a reading of so many bytes has room there."""

    def find(self, side: Side) -> Reading | None:
        """What that side has read of it before."""

    def hold(self, side: Side, reading: Reading) -> None:
        """Keep what that side has read of it."""


@dataclass(frozen=True)
class Answering:
    """One event of the run of question `index`."""

    index: int
    event: Event


def ask_all(
    engine: SlimEngine,
    requests: Sequence[Request],
    stop: threading.Event | None = None,
    kept: KeptReadings | None = None,
) -> Iterator[DocumentRead | Answering]:
    """Ask `requests` of the full model, then of the pruned one, then compare each; see `SlimEngine.compare`.

    Each side reads what the prompts share with the first one's, and lets go of it before the other begins, or finds it
    among what was `kept` and leaves it there. One question alone of which nothing can be kept, a method or a hybrid
    model that can answer from no reading, and a prompt that is rotated otherwise than what was read are asked afresh:
    then no `DocumentRead` comes, or the run's `read_tokens` are 0.

    Raises:
        SlimError: a request cannot be run at all, or the reading was stopped.
    """
    if not requests:
        raise ConfigError("There is no question: ask at least one.")
    readies = [engine.prepare(request) for request in requests]
    finished: dict[tuple[Side, int], Finished] = {}
    sides: tuple[Side, Side] = ("full", "pruned")
    for side in sides:
        reading = None
        layer = _read_up_to(engine, readies[0], side)
        if layer is not None and (len(readies) > 1 or _can_keep(engine, readies[0], layer, kept)):
            started = time.perf_counter()
            found = None if kept is None else kept.find(side)
            reading = engine.read(readies[0], side, stop=stop) if found is None else found
            took, flops = time.perf_counter() - started, reading.flops(engine.loaded.shape)
            yield DocumentRead(side, len(reading), took, reading.nbytes, flops, found is not None)
            if kept is not None and found is None:
                kept.hold(side, reading)
        for index, ready in enumerate(readies):
            for event in answer_from(engine, reading, ready, side, stop):
                if isinstance(event, Finished):
                    finished[side, index] = event
                yield Answering(index, event)
            if stop is not None and stop.is_set():
                return
    for index in range(len(readies)):
        full, pruned = finished.get(("full", index)), finished.get(("pruned", index))
        if full is not None and pruned is not None:
            yield Answering(index, Compared("pruned", pruned.at, Comparison.of(full.metrics, pruned.metrics)))


def can_read(engine: SlimEngine, ready: PromptRequest, side: Side) -> bool:
    """Whether a reading can stand for what comes before the question of `ready` on this side."""
    return _read_up_to(engine, ready, side) is not None


def _read_up_to(engine: SlimEngine, ready: PromptRequest, side: Side) -> int | None:
    """The layer up to which the side reads what the questions share, None where no reading can answer them."""
    config = ready.pruning.config if side == "pruned" else SlimConfig(method="full")
    try:
        layer = reading_layer(config, engine.loaded.layers)
    except ConfigError:
        return None
    # Layers with a state have no keys to keep.
    return layer if ready.prompt.question[0] > 0 and all(engine.loaded.shape.attending[:layer]) else None


def _can_keep(engine: SlimEngine, ready: PromptRequest, layer: int, kept: KeptReadings | None) -> bool:
    shape, width = engine.loaded.shape, engine.loaded.model.dtype.itemsize
    return kept is not None and kept.takes(reading_bytes(shape, layer, ready.prompt.question[0], width))


def answer_from(
    engine: SlimEngine, reading: Reading | None, ready: PromptRequest, side: Side, stop: threading.Event | None
) -> Iterator[Event]:
    """Events of one side from `reading`, or asked afresh where there is none or the prompt is rotated otherwise."""
    if reading is None or rotates_otherwise(engine.loaded.model.config, len(reading), len(ready.prompt)):
        return engine.run(ready, side, stop)
    return engine.ask(reading, ready, side, stop)


@dataclass(frozen=True)
class QuestionsResult:
    """What the items of `ask_all` add up to, also while they still come.

    Attributes:
        runs: the result of each question, in order.
        readings: what each side has read once.
    """

    runs: tuple[RunResult, ...]
    readings: dict[Side, DocumentRead] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int) -> QuestionsResult:
        """The result of `count` questions before anything has happened."""
        return cls((RunResult(),) * count)

    def after(self, item: DocumentRead | Answering) -> QuestionsResult:
        """The result once `item` has happened."""
        if isinstance(item, DocumentRead):
            return replace(self, readings=self.readings | {item.side: item})
        runs = list(self.runs)
        runs[item.index] = runs[item.index].after(item.event)
        return replace(self, runs=tuple(runs))

    @property
    def failed(self) -> list[str]:
        """The messages of all runs that failed, each once."""
        told = [run.ended.message for each in self.runs for run in each.sides if isinstance(run.ended, Failed)]
        return list(dict.fromkeys(told))

    def to_dict(self, model: str, config: SlimConfig, questions: Sequence[str]) -> dict[str, Any]:
        """Plain data in the form of the command line's JSON contract: `questions` in order, each as one run's data."""
        entries = [run.to_dict(model, config) for run in self.runs]
        common = {name: entries[0][name] for name in ("model", "device", "dtype", "config")}
        told = [
            {"question": question} | {name: value for name, value in entry.items() if name not in common}
            for question, entry in zip(questions, entries, strict=True)
        ]
        read = {
            side: {
                "tokens": one.tokens,
                "seconds": one.seconds,
                "bytes": one.nbytes,
                "flops": one.flops,
                "earlier": one.earlier,
            }
            for side, one in self.readings.items()
        }
        return common | {"reading": read, "questions": told}
