"""Whose turn it is, and who may still come: the arithmetic of a queue that no client can take from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

HALF_FORGOTTEN_S = 600.0  # how long ago a client's use of the device counts half


@dataclass(frozen=True)
class Use:
    """Seconds for which a client has had the device, of which half are forgotten every `HALF_FORGOTTEN_S`.

    at: the moment that `seconds` are told of, on any clock.
    """

    seconds: float = 0.0
    at: float = 0.0

    def now(self, moment: float) -> float:
        """The seconds that still count at `moment`."""
        return float(self.seconds * 0.5 ** ((moment - self.at) / HALF_FORGOTTEN_S))

    def after(self, seconds: float, moment: float) -> Use:
        """The use at `moment`, once the client has had the device for `seconds` more."""
        return Use(self.now(moment) + seconds, moment)


def in_turn(
    waiting: Sequence[T], client: Callable[[T], str], under_way: Mapping[str, int], used: Callable[[str], float]
) -> list[T]:
    """What is `waiting`, given in the order in which it came, in the order in which it is served.

    Turns go round by client: with n clients waiting, each gets every n-th turn, however much of its own waits, and what
    a client has `under_way` counts as its turn. Within a round whoever has `used` the device least is first, then
    whoever came first.
    """
    own = Counter(under_way)
    keys = list[tuple[int, float, int]]()
    for place, event in enumerate(waiting):
        name = client(event)
        keys.append((own[name], used(name), place))
        own[name] += 1
    return [waiting[place] for _, _, place in sorted(keys)]


def may_wait(waiting: int, own_waiting: int, places: int) -> bool:
    """Whether one more may wait beside `waiting` others, of which `own_waiting` are its client's own.

    The last half of the places is for clients of whom nothing waits yet.
    """
    return waiting < (places if own_waiting == 0 else places / 2)
