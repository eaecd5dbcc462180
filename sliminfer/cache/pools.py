"""Host memory for blocks: slabs of a power of two bytes, allocated once and lent from request to request."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from sliminfer.errors import MemoryLimitError

SLAB_BYTES = 4 << 20  # torch rounds pinned allocations up to a power of two: this one wastes nothing


def _allocate(nbytes: int, pinned: bool) -> Tensor:
    # An inference tensor could not be written to by a later request outside inference mode.
    with torch.inference_mode(False):
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=pinned)


class HostPool:
    """Slabs of host memory. One pool serves one engine for as long as it lives.

    Pinning that fails is reported once as a warning, and the pool goes on with pageable memory: copies are
    then slower and wait for each other, results are the same.
    """

    def __init__(
        self,
        limit_bytes: int | None = None,
        *,
        pinned: bool = False,
        slab_bytes: int = SLAB_BYTES,
        allocate: Callable[[int, bool], Tensor] = _allocate,
    ) -> None:
        """An empty pool.

        Args:
            limit_bytes: most bytes of slabs to hold at a time; None for no limit.
            pinned: page-locked slabs, which a CUDA device can copy from while it computes.
            slab_bytes: size of one slab, a power of two.
            allocate: gives `nbytes` of host memory, page-locked if asked for.
        """
        if slab_bytes < 1 or slab_bytes & (slab_bytes - 1):
            raise ValueError(f"slab_bytes is {slab_bytes}: it must be a power of two.")
        self.limit_bytes = limit_bytes
        self.pinned = pinned
        self.slab_bytes = slab_bytes
        self._allocate = allocate
        self._free: list[Tensor] = []
        self._slabs = 0
        self._lock = threading.RLock()

    @property
    def held_bytes(self) -> int:
        """Bytes of all slabs, lent and free."""
        return self._slabs * self.slab_bytes

    @property
    def free_bytes(self) -> int:
        """Bytes of the slabs that wait for the next request."""
        return len(self._free) * self.slab_bytes

    def lend(self, count: int, block_bytes: int) -> HostLease:
        """Room for `count` blocks of `block_bytes` each.

        Raises:
            MemoryLimitError: the pool's limit or the machine's memory is reached; nothing is taken then.
        """
        per_slab = self.slab_bytes // block_bytes
        if not per_slab:
            raise MemoryLimitError(
                f"One block of {block_bytes:,} bytes does not fit a host slab of {self.slab_bytes:,}: "
                "choose a smaller decode_block_size."
            )
        slabs: list[Tensor] = []
        with self._lock:
            try:
                for _ in range(-(-count // per_slab)):
                    slabs.append(self._free.pop() if self._free else self._new())
            except MemoryLimitError:
                self._free.extend(slabs)
                raise
        return HostLease(self, slabs, count, block_bytes)

    def take_back(self, slabs: list[Tensor]) -> None:
        """Slabs of a lease that ended."""
        with self._lock:
            self._free.extend(slabs)

    def _new(self) -> Tensor:
        if self.limit_bytes is not None and self.held_bytes + self.slab_bytes > self.limit_bytes:
            raise MemoryLimitError(
                f"The host pool is full: {self.held_bytes:,} of {self.limit_bytes:,} bytes are taken; raise its "
                "limit, or set active to none."
            )
        try:
            slab = self._allocate(self.slab_bytes, self.pinned)
        except RuntimeError as error:
            if not self.pinned:
                raise MemoryLimitError(
                    f"The host gives no further {self.slab_bytes:,} bytes for KV blocks, {self.held_bytes:,} are "
                    "taken: use a shorter document, or set active to none."
                ) from error
            reason = str(error).split("\n", 1)[0].rstrip(".")
            warnings.warn(
                f"Host memory cannot be pinned ({reason}): KV blocks go on in pageable memory, more slowly.",
                RuntimeWarning,
                stacklevel=2,
            )
            self.pinned = False
            return self._new()
        self._slabs += 1
        return slab


class HostLease:
    """Slabs lent to one stage of one request, cut into blocks of equal size."""

    def __init__(self, pool: HostPool, slabs: list[Tensor], count: int, block_bytes: int) -> None:
        self._pool = pool
        self._slabs = slabs
        self._per_slab = pool.slab_bytes // block_bytes
        self.count = count
        self.block_bytes = block_bytes

    @property
    def slab_bytes(self) -> int:
        """Bytes of the slabs held, the unused end of each included."""
        return sum(slab.nbytes for slab in self._slabs)

    def spans(self, first: int, count: int) -> list[Tensor]:
        """The bytes of blocks `first` to `first + count - 1`, one contiguous [blocks, block_bytes] per slab."""
        found = []
        block, end = first, min(first + count, self.count)
        while block < end:
            slab, start = divmod(block, self._per_slab)
            used = min(self._per_slab - start, end - block)
            flat = self._slabs[slab][start * self.block_bytes : (start + used) * self.block_bytes]
            found.append(flat.view(used, self.block_bytes))
            block += used
        return found

    def release(self) -> None:
        """Give the slabs back to the pool; a second call does nothing."""
        slabs, self._slabs = self._slabs, []
        self._pool.take_back(slabs)
