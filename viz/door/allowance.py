"""So much an hour for each client, of anything that can be counted."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

HOUR_S = 3600.0


class Allowance:
    """What each client has taken within the last `seconds`, and whether it may take more."""

    def __init__(
        self, most: float, seconds: float = HOUR_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._taken: OrderedDict[str, list[tuple[float, float]]] = OrderedDict()  # newest takers last

    def take(self, client: str, amount: float) -> bool:
        """Count `amount` for `client`; False, and nothing counted, where that would be more than it may have."""
        now = self._clock()
        self._forget(now)
        before = [(at, each) for at, each in self._taken.get(client, []) if now - at < self._seconds]
        if sum(each for _, each in before) + amount > self._most:
            return False
        self._taken[client] = [*before, (now, amount)]
        self._taken.move_to_end(client)
        return True

    def _forget(self, now: float) -> None:
        """Let go of clients who have taken nothing for so long."""
        while self._taken and now - next(iter(self._taken.values()))[-1][0] >= self._seconds:
            self._taken.popitem(last=False)
