"""The processes that share one job under `accelerate launch`, on one host or many."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from sliminfer.errors import ConfigError, needs_extra

T = TypeVar("T")

# A process may wait for the slowest one of the job: the default of 10 to 30 minutes is far too short.
_PATIENCE = datetime.timedelta(days=14)


@dataclass(frozen=True)
class Shard:
    """This process's share of a job.

    Attributes:
        rank, world: this process among all.
        local_rank: this process among those of its host.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> Shard:
        """The shard that the launcher names in the environment; the whole job where there is none.

        With more than one process this joins the process group, so that `everyone` works. Raises ConfigError where
        that takes a package that is not installed.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise ConfigError(needs_extra("A job of several processes", "accelerate", "evaluate")) from error
        # Only small results are exchanged, so one backend does for CPU and GPU processes alike.
        state = PartialState(cpu=True, backend="gloo", timeout=_PATIENCE)
        return cls(state.process_index, state.num_processes, state.local_process_index)

    @property
    def first(self) -> bool:
        """Whether this process writes the results and talks to the user."""
        return self.rank == 0

    def mine(self, items: Sequence[T]) -> list[T]:
        """This process's part of `items`, which all processes must hold in the same order."""
        if self.world == 1:
            return list(items)
        # Shuffled, so that no process gets all of the long ones.
        order = Random(0).sample(range(len(items)), len(items))
        return [items[i] for i in sorted(order[self.rank :: self.world])]

    def device(self, wanted: str) -> str:
        """The device for this process: its own GPU where `wanted` leaves the choice and there are several."""
        import torch

        if self.world == 1 or wanted not in ("auto", "cuda") or not torch.cuda.is_available():
            return wanted
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"

    def everyone(self, value: T) -> list[T]:
        """`value` of every process, in the order of their ranks; all must call it."""
        if self.world == 1:
            return [value]
        import torch.distributed

        gathered: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(gathered, value)
        return gathered
