"""Visits: how many a client may begin, since each has a memory of its own on the page."""

from __future__ import annotations

import time
from collections import OrderedDict

from viz.door.allowance import HOUR_S, Allowance

MOST_VISITS = 200  # an hour for one client; a class behind one address opens that many tabs


class Visits:
    """The sessions that were here within the last hour, and whose they are."""

    def __init__(self, most: int = MOST_VISITS) -> None:
        self._allowance = Allowance(most)
        self._known: OrderedDict[str, float] = OrderedDict()

    def may(self, client: str, session: str) -> bool:
        """Whether `client` may call as `session`, which is known from before or begins now."""
        now = time.monotonic()
        while self._known and now - next(iter(self._known.values())) > HOUR_S:
            self._known.popitem(last=False)
        if session not in self._known and not self._allowance.take(client, 1):
            return False
        self._known[session] = now
        self._known.move_to_end(session)
        return True
