"""How often each client may ask: a burst at once, and then so often a second."""

from __future__ import annotations

import time
from collections.abc import Callable

A_SECOND = 100.0  # requests of one client; opening the page takes some 70, and a class may share an address
BURST = 500
REFUSED = 10  # requests that a refused one counts for as well: who is refused and goes on waits for itself
_MANY = 1_000  # clients


class Pace:
    """For how long to hold each client's next request, so that it has no more than `a_second` after a `burst`."""

    def __init__(
        self, a_second: float = A_SECOND, burst: int = BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._each, self._burst, self._clock = 1 / a_second, burst / a_second, clock
        self._paid: dict[str, float] = {}  # until when each client's requests so far last at its pace

    def hold_s(self, client: str) -> float:
        """Seconds for which to hold a request that `client` makes now; 0 for most."""
        now = self._clock()
        if len(self._paid) > _MANY:
            self._paid = {other: until for other, until in self._paid.items() if until > now}
        return max(0.0, self._pay(client, 1, now) - now - self._burst)

    def refused(self, client: str) -> None:
        """A request of `client` was refused, which it pays for later."""
        self._pay(client, REFUSED, self._clock())

    def _pay(self, client: str, requests: int, now: float) -> float:
        until = self._paid[client] = max(self._paid.get(client, now), now) + requests * self._each
        return until
