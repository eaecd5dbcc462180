"""A copy engine on a virtual clock: one link of a given bandwidth and latency, copies in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sliminfer.cache.copies import Copy, CopyError, CopyStats


@dataclass(frozen=True)
class Link:
    """What connects host and device.

    Attributes:
        bandwidth: bytes per second; the default is what PCIe 4.0 x16 gives in practice.
        latency_s: seconds from one batch of copies to the start of its transfer.
    """

    bandwidth: float = 25e9
    latency_s: float = 10e-6

    def seconds(self, nbytes: int) -> float:
        """Time one batch of `nbytes` takes on an idle link."""
        return self.latency_s + nbytes / self.bandwidth if nbytes else 0.0


class VirtualClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def advance(self, seconds: float) -> None:
        self.now += seconds


class SimCopyEngine:
    """Runs each copy when its transfer would end on the clock, so that reading too early reads old bytes.

    Whoever models the compute advances the clock; a wait for a copy that is late advances it too, and
    that advance is the stall.
    """

    def __init__(self, clock: VirtualClock, link: Link | None = None) -> None:
        self.clock = clock
        self.link = link or Link()
        self._queue: deque[tuple[int, float, Sequence[Copy]]] = deque()
        self._idle_at = 0.0
        self._tickets = 0
        self._done = 0
        self._nbytes = 0
        self._transfer_s = 0.0
        self._stall_s = 0.0

    def submit(self, copies: Sequence[Copy]) -> int:
        nbytes = sum(copy.nbytes for copy in copies)
        seconds = self.link.seconds(nbytes)
        self._idle_at = max(self.clock.now, self._idle_at) + seconds
        self._tickets += 1
        self._queue.append((self._tickets, self._idle_at, copies))
        self._nbytes += nbytes
        self._transfer_s += seconds
        return self._tickets

    def poll(self, ticket: int) -> bool:
        self._settle()
        return ticket <= self._done

    def wait(self, ticket: int) -> None:
        for queued, ends_at, _ in self._queue:
            if queued == ticket and ends_at > self.clock.now:
                self._stall_s += ends_at - self.clock.now
                self.clock.now = ends_at
        self._settle()

    def stats(self) -> CopyStats:
        return CopyStats(self._nbytes, self._transfer_s, self._stall_s)

    def close(self) -> None:
        while self._queue:
            self._finish()

    def _settle(self) -> None:
        while self._queue and self._queue[0][1] <= self.clock.now:
            self._finish()

    def _finish(self) -> None:
        ticket, _, copies = self._queue.popleft()
        self._done = ticket
        try:
            for copy in copies:
                copy.run()
        except RuntimeError as error:
            raise CopyError(error) from error
