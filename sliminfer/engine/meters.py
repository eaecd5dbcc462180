"""Meters for time and memory that know when a device has really finished."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import torch

Device = torch.device


def synchronize(device: Device) -> None:
    """Wait until everything queued on `device` is done; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Stopwatch:
    """Adds up named spans: wall time on a CPU, stream time between events on a GPU (no wait while running)."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"
        self._seconds: dict[str, float] = defaultdict(float)
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def span(self, name: str, device: Device | None = None) -> Iterator[None]:
        """Time the block under `name`; on a GPU, on the stream of `device` where it is not this watch's own."""
        if not self._cuda:
            start = time.perf_counter()
            yield
            self._seconds[name] += time.perf_counter() - start
            return
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # On this device's stream: the current device may be another.
        stream = torch.cuda.current_stream(device or self._device)
        first.record(stream)
        yield
        last.record(stream)
        self._pending.append((name, first, last))

    def seconds(self, name: str) -> float:
        """Total of `name` in seconds; waits for the device."""
        for pending, first, last in self._pending:
            last.synchronize()
            self._seconds[pending] += first.elapsed_time(last) / 1000
        self._pending.clear()
        return self._seconds[name]


class PeakMemory:
    """Most memory taken above what was taken at the start, in bytes.

    On GPUs the allocator's peak, over all devices given. On a Linux CPU the process's high-water mark, which the
    kernel lets a process reset for itself; where it does not, the resident size at the time of asking.
    """

    def __init__(self, *devices: Device) -> None:
        self._cuda = sorted({device.index or 0 for device in devices if device.type == "cuda"})
        gc.collect()
        if self._cuda:
            for index in self._cuda:
                torch.cuda.reset_peak_memory_stats(index)
            self._base = self._total("allocated_bytes.all.current")
        else:
            _give_back_freed_memory()
            with contextlib.suppress(OSError):
                os.write(_high_water_reset(os.getpid()), b"5")
            self._base = psutil.Process().memory_info().rss

    def bytes(self) -> int:
        """The peak since the start."""
        if self._cuda:
            return self._total("allocated_bytes.all.peak") - self._base
        return max(0, _high_water_mark() - self._base)

    def _total(self, stat: str) -> int:
        return sum(int(torch.cuda.memory_stats(index).get(stat, 0)) for index in self._cuda)


@cache
def _high_water_reset(_process: int) -> int:
    """A descriptor that takes the reset of this process's high-water mark.

    Kept open: a page that holds tokens makes its own entries in /proc root's once it is up (see `documents.sandbox`).
    """
    return os.open("/proc/self/clear_refs", os.O_WRONLY)


def _give_back_freed_memory() -> None:
    # Freed memory that the allocator keeps would otherwise be in the base of one run and not of the next.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _high_water_mark() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
