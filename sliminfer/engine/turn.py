"""Turns: one run at a time on one engine, and a clear error instead of a wait for oneself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from sliminfer.errors import ConfigError


@dataclass
class _Held:
    turn: Turn
    open: bool = True


# The runs that this context has started and not seen the end of.
_held: ContextVar[tuple[_Held, ...]] = ContextVar("turns_held", default=())


class Turn:
    """The turn of one device. Runs of other threads wait for it; a second run of the same thread would for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Within the block the turn is ours; may be entered and left by a generator, in whatever thread it goes on.

        Raises:
            ConfigError: a run that this context started has the turn, and waits to be gone on with.
        """
        mine = tuple(held for held in _held.get() if held.open)
        if any(held.turn is self for held in mine):
            raise ConfigError(
                "This engine is in the middle of a run that was started here: exhaust or close that one first."
            )
        self._lock.acquire()
        held = _Held(self)
        _held.set((*mine, held))
        try:
            yield
        finally:
            held.open = False
            self._lock.release()
