"""Copy engines: who moves blocks between host and device. The protocol, and the engine of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from sliminfer.errors import SlimError


class CopyError(SlimError):
    """A block could not be copied; the request is over, the engine is ready for the next one."""

    def __init__(self, cause: BaseException) -> None:
        reason = str(cause).split("\n", 1)[0].rstrip(".")
        super().__init__(
            f"Moving blocks of the KV cache failed ({reason}): ask again, or set active to none to keep "
            "every block on the device."
        )


class Copy(Protocol):
    """One block's transfer: `nbytes` to count, `run` to do it on the stream that is current."""

    @property
    def nbytes(self) -> int: ...

    def run(self) -> None: ...


@dataclass(frozen=True)
class TensorCopy:
    """`source` into `target`, of one shape and dtype; both are read when the copy runs."""

    target: Tensor
    source: Tensor

    @property
    def nbytes(self) -> int:
        return self.target.numel() * self.target.element_size()

    def run(self) -> None:
        self.target.copy_(self.source, non_blocking=True)


@dataclass(frozen=True)
class CopyStats:
    """What an engine has done so far.

    Attributes:
        nbytes: bytes of the copies submitted.
        transfer_s: seconds the link was busy with copies that are known to be done.
        stall_s: seconds the compute waited for copies, in waits that are known to be over.
    """

    nbytes: int = 0
    transfer_s: float = 0.0
    stall_s: float = 0.0

    def __add__(self, other: CopyStats) -> CopyStats:
        return CopyStats(self.nbytes + other.nbytes, self.transfer_s + other.transfer_s, self.stall_s + other.stall_s)

    def since(self, before: CopyStats) -> CopyStats:
        """What came on top of `before`."""
        return CopyStats(
            self.nbytes - before.nbytes, self.transfer_s - before.transfer_s, self.stall_s - before.stall_s
        )


class CopyEngine(Protocol):
    """Moves blocks in the order submitted.

    A copy may run at any time after everything the compute was given before `submit`, and its bytes may be
    read by whatever the compute is given after `wait`. Engines raise CopyError where a copy fails.
    """

    def submit(self, copies: Sequence[Copy]) -> int:
        """Start `copies` and return a ticket for them."""
        ...

    def poll(self, ticket: int) -> bool:
        """Whether the copies of `ticket` are known to be done; never waits."""
        ...

    def wait(self, ticket: int) -> None:
        """Let the compute go on only after the copies of `ticket`."""
        ...

    def stats(self) -> CopyStats:
        """Counts and times so far."""
        ...

    def close(self) -> None:
        """Finish every copy that was started; the engine takes no more."""
        ...


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
