"""Who moves blocks between host and device: the engine of the CPU, one that copies on demand, and the choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import torch

from sliminfer.cache.copies import Copy, CopyEngine, CopyError, CopyStats


class SyncCopyEngine:
    """Copies at once, on the caller's thread: every second of transfer is a second of stall."""

    def __init__(self) -> None:
        self._tickets = 0
        self._nbytes = 0
        self._seconds = 0.0

    def submit(self, copies: Sequence[Copy]) -> int:
        start = perf_counter()
        try:
            for copy in copies:
                copy.run()
                self._nbytes += copy.nbytes
        except RuntimeError as error:
            raise CopyError(error) from error
        finally:
            self._seconds += perf_counter() - start
        self._tickets += 1
        return self._tickets

    def poll(self, ticket: int) -> bool:
        return ticket <= self._tickets

    def wait(self, ticket: int) -> None:
        """Nothing to wait for."""

    def stats(self) -> CopyStats:
        return CopyStats(self._nbytes, self._seconds, self._seconds)

    def close(self) -> None:
        """Nothing is ever in flight."""


class OnDemandEngine:
    """Another engine without prefetch: copies start when they are waited for. For tests and measurements."""

    def __init__(self, inner: CopyEngine) -> None:
        self._inner = inner
        self._held: dict[int, Sequence[Copy]] = {}
        self._started: dict[int, int] = {}
        self._tickets = 0

    def submit(self, copies: Sequence[Copy]) -> int:
        self._tickets += 1
        self._held[self._tickets] = copies
        return self._tickets

    def poll(self, ticket: int) -> bool:
        return ticket in self._started and self._inner.poll(self._started[ticket])

    def wait(self, ticket: int) -> None:
        for earlier in [held for held in self._held if held <= ticket]:
            self._started[earlier] = self._inner.submit(self._held.pop(earlier))
        self._inner.wait(self._started[ticket])

    def stats(self) -> CopyStats:
        return self._inner.stats()

    def close(self) -> None:
        if self._held:
            self.wait(max(self._held))
        self._inner.close()


EngineFactory = Callable[[torch.device], CopyEngine]


def copy_engine_for(device: torch.device) -> CopyEngine:
    """The engine for blocks that live on `device`; CUDA's is imported only where one is at work."""
    if device.type == "cuda":
        from sliminfer.cache.cuda_engine import CudaCopyEngine

        return CudaCopyEngine(device)
    return SyncCopyEngine()
