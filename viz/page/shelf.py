"""The engines of this process: one model loaded at a time, one thread that computes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sliminfer.engine import SlimEngine
from sliminfer.limits import NO_LIMITS, RunLimits
from sliminfer.models import LoadedModel, load_model
from viz.page.zero import BorrowingEngine


@dataclass
class Shelf:
    """Loads models by name and keeps the last one, warmed up.

    `worker` is the one thread on which models are loaded and run: a second run waits for the first, and the
    CPU's thread pool, which belongs to the thread that calls it, stays warm.

    Attributes:
        device, dtype, attention: passed on to `load_model`.
        limits: what one run may take.
        borrows: the GPU is lent call by call (ZeroGPU), so this process itself must never compute on it.
    """

    device: str = "auto"
    dtype: str = "auto"
    attention: str = "auto"
    limits: RunLimits = NO_LIMITS
    borrows: bool = False
    worker: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine"), repr=False
    )
    _engines: dict[str, SlimEngine] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def engine(self, name: str) -> SlimEngine:
        """The warmed-up engine of model `name`, loaded in place of the one before; raises SlimError."""
        with self._lock:
            if name not in self._engines:
                self._engines.clear()  # let go of the old weights before the new ones come
                loaded = load_model(name, device=self.device, dtype=self.dtype, attention=self.attention)
                if self.borrows:
                    self._engines[name] = BorrowingEngine(loaded, self.limits)
                else:
                    self._engines[name] = SlimEngine(loaded, self.limits)
                    self._engines[name].warm_up()
            return self._engines[name]

    def loaded(self, name: str) -> LoadedModel | None:
        """Model `name` if it is the one in memory."""
        engine = self._engines.get(name)
        return None if engine is None else engine.loaded

    def any_loaded(self) -> LoadedModel | None:
        """The model in memory, if there is one."""
        return next((engine.loaded for engine in list(self._engines.values())), None)

    def close(self) -> None:
        """Stop the worker after what it is doing."""
        self.worker.shutdown(wait=True, cancel_futures=True)
