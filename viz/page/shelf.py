"""The engines of this process: one model loaded at a time, one thread that computes for each device."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.limits import NO_LIMITS, RunLimits
from sliminfer.engine.race import Lane
from sliminfer.model.loading import LoadedModel, load_model
from sliminfer.model.sources import find_gguf
from viz.page.zero import BorrowingEngine

START_S = 600.0  # all devices must begin to load within this time


@dataclass
class Shelf:
    """Loads models by name and keeps the last one of each device, warmed up.

    `worker` has one thread for each device, on which that device's models are loaded and run: a run waits for a free
    device, and the CPU's thread pool, which belongs to the thread that calls it, stays warm.

    Attributes:
        device: one device, or several separated by commas ("cuda:0,cuda:1"), which then run one request each.
        dtype, attention: passed on to `load_model`.
        limits: what one run may take.
        borrows: the GPU is lent call by call (ZeroGPU), so this process itself must never compute on it.
        packed: leave the weights of models that are GGUF files packed.
        draft: name of the model that reads first for methods with a draft, loaded beside each; empty for none.
        busy: devices that compute now.
    """

    device: str = "auto"
    dtype: str = "auto"
    attention: str = "auto"
    limits: RunLimits = NO_LIMITS
    borrows: bool = False
    packed: bool = False
    draft: str = ""
    worker: ThreadPoolExecutor = field(init=False, repr=False)
    _engines: list[dict[str, SlimEngine]] = field(init=False, repr=False)
    busy: int = field(default=0, init=False, repr=False)
    _here: threading.local = field(default_factory=threading.local, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _lock_of_busy: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._engines = [{} for _ in self.devices]
        numbers = itertools.count()
        self.worker = ThreadPoolExecutor(
            len(self.devices), "engine", initializer=lambda: setattr(self._here, "number", next(numbers))
        )

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices, each of which runs one request at a time."""
        return tuple(part.strip() for part in self.device.split(","))

    def engine(self, name: str) -> SlimEngine:
        """The warmed-up engine of model `name` on this thread's device, loaded in place of the one before.

        A thread that is none of `worker`'s has the first device. Raises SlimError.
        """
        number = getattr(self._here, "number", 0)
        engines = self._engines[number]
        if name not in engines:
            with self._lock:  # transformers sets process-wide defaults while it loads
                engines.clear()  # let go of the old weights before the new ones come
                loaded = self._load(name, self.devices[number])
                if self.borrows:
                    engines[name] = BorrowingEngine(loaded, self.limits)
                else:
                    draft = self._load(self.draft, self.devices[number]) if self.draft else None
                    engine = SlimEngine(loaded, self.limits, draft)
                    engine.warm_up()
                    engines[name] = engine
        return engines[name]

    def open(self, name: str) -> LoadedModel:
        """Load model `name` on every device; raises SlimError."""
        if self.borrows:  # where the GPU is lent, weights must be placed by the main thread
            return self.engine(name).loaded
        together = threading.Barrier(len(self.devices))

        def load() -> LoadedModel:
            together.wait(START_S)  # no thread may take the place of another
            return self.engine(name).loaded

        jobs = [self.worker.submit(load) for _ in self.devices]
        first, *_ = [job.result() for job in jobs]
        return first

    def flops_per_s(self, name: str) -> float | None:
        """How fast model `name` was last seen to read; None where nobody knows."""
        known = [engines[name].flops_per_s for engines in self._engines if name in engines]
        return next((speed for speed in known if speed is not None), None)

    def lanes(self, name: str) -> tuple[Lane, ...]:
        """The devices as a race of model `name` sees them, from a thread of `worker` that computes already."""
        others = self.busy - 1
        found = []
        for number, engines in enumerate(self._engines):
            loaded = engines[name].loaded if name in engines else None
            mine = number == getattr(self._here, "number", 0)
            busy = not mine and others > 0
            others -= busy
            if loaded is None:
                found.append(Lane("", "", number, loaded=False, busy=busy))
            else:
                device = loaded.device
                found.append(Lane(device.type, loaded.device_name, device.index or 0, loaded=True, busy=busy))
        return tuple(found)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Counts the block among those that are `busy`."""
        with self._lock_of_busy:
            self.busy += 1
        try:
            yield
        finally:
            with self._lock_of_busy:
                self.busy -= 1

    def loaded(self, name: str) -> LoadedModel | None:
        """Model `name` if it is in memory."""
        return next((loaded for loaded in self._all() if loaded.name == name), None)

    def any_loaded(self) -> LoadedModel | None:
        """A model in memory, if there is one."""
        return next(self._all(), None)

    def close(self) -> None:
        """Stop the worker after what it is doing."""
        self.worker.shutdown(wait=True, cancel_futures=True)

    def _load(self, name: str, device: str) -> LoadedModel:
        packed = self.packed and find_gguf(name) is not None
        return load_model(name, device=device, dtype=self.dtype, attention=self.attention, packed=packed)

    def _all(self) -> Iterator[LoadedModel]:
        for engines in self._engines:
            yield from [engine.loaded for engine in list(engines.values())]
