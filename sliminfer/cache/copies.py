"""What a copy between host and device is, and what an engine that makes copies answers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from sliminfer.errors import SlimError
from sliminfer.ops import dispatch as ops


class CopyError(SlimError):
    """A block could not be copied; the request is over, the engine is ready for the next one."""

    def __init__(self, cause: BaseException) -> None:
        reason = str(cause).split("\n", 1)[0].rstrip(".")
        super().__init__(
            f"Moving blocks of the KV cache failed ({reason}): ask again, or set active to none to keep "
            "every block on the device."
        )


class Copy(Protocol):
    """A transfer: `nbytes` to count, `run` to do it on the stream that is current."""

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
class BlocksCopy:
    """Blocks of one layer from the host into slots of its buffer, see `ops.reference.load_blocks`."""

    store: Tensor
    spans: tuple[Tensor, ...]
    loads: tuple[tuple[int, int], ...]

    @property
    def nbytes(self) -> int:
        return len(self.loads) * self.spans[0][0].nbytes

    def run(self) -> None:
        ops.load_blocks(self.store, self.spans, self.loads)


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
