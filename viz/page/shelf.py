"""The engines of this process: one model loaded at a time, one thread that computes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sliminfer.engine import SlimEngine
from sliminfer.models import LoadedModel, load_model


@dataclass
class Shelf:
    """Loads models by name and keeps the last one, warmed up.

    `worker` is the one thread on which models are loaded and run: a second run waits for the first, and the
    CPU's thread pool, which belongs to the thread that calls it, stays warm.

    Attributes:
        device, dtype: passed on to `load_model`.
    """

    device: str = "auto"
    dtype: str = "auto"
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
                engine = SlimEngine(load_model(name, device=self.device, dtype=self.dtype))
                engine.warm_up()
                self._engines[name] = engine
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
