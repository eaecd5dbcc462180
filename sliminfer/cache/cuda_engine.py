"""The copy engine of a CUDA device: a side stream beside the compute stream, ordered by events alone."""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sliminfer.cache.copies import Copy, CopyError, CopyStats


@dataclass(frozen=True)
class _Flight:
    """Copies under way: their tensors are held until the side stream has passed `end`."""

    copies: Sequence[Copy]
    start: torch.cuda.Event
    end: torch.cuda.Event


class CudaCopyEngine:
    """Copies on a stream of their own; the host never waits for them, except in `close`.

    Order is kept by events, not by `record_stream`: the side stream starts a batch after what the compute
    stream had been given before `submit`, so no slot is overwritten before its last read, and the compute
    stream passes `wait` after the batch. Tensors of a batch are held until it is done, so the allocator
    cannot give their memory away. Copies from pageable memory are right as well, but not asynchronous.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._flights: OrderedDict[int, _Flight] = OrderedDict()
        self._waits: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._tickets = 0
        self._nbytes = 0
        self._transfer_s = 0.0
        self._stall_s = 0.0

    def submit(self, copies: Sequence[Copy]) -> int:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        try:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream):
                start.record()
                for copy in copies:
                    copy.run()
                end.record()
        except RuntimeError as error:
            with contextlib.suppress(RuntimeError):
                self._stream.synchronize()
            raise CopyError(error) from error
        self._tickets += 1
        self._flights[self._tickets] = _Flight(copies, start, end)
        self._nbytes += sum(copy.nbytes for copy in copies)
        self._collect()
        return self._tickets

    def poll(self, ticket: int) -> bool:
        self._collect()
        return ticket <= self._tickets and ticket not in self._flights

    def wait(self, ticket: int) -> None:
        self._collect()
        flight = self._flights.get(ticket)
        if flight is None:
            return
        # The time between these two marks on the compute stream is the stall: it does nothing else there.
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        compute = torch.cuda.current_stream(self._device)
        before.record(compute)
        compute.wait_event(flight.end)
        after.record(compute)
        self._waits.append((before, after))

    def stats(self) -> CopyStats:
        self._collect()
        return CopyStats(self._nbytes, self._transfer_s, self._stall_s)

    def close(self) -> None:
        self._stream.synchronize()
        torch.cuda.current_stream(self._device).synchronize()
        self._collect()

    def _collect(self) -> None:
        while self._flights and next(iter(self._flights.values())).end.query():
            _, flight = self._flights.popitem(last=False)
            self._transfer_s += flight.start.elapsed_time(flight.end) / 1000
        while self._waits and self._waits[0][1].query():
            before, after = self._waits.popleft()
            self._stall_s += before.elapsed_time(after) / 1000
