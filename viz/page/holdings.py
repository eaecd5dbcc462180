"""What the server holds of its visitors, together: bounded, with those forgotten first who were here longest ago."""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass

from sliminfer.documents.document import MIB
from viz.page.session import Visitor

MOST_BYTES = 512 * MIB
BYTES_A_TOKEN = 200  # of a prompt: its id, and its place in the text as two numbers
MAP_BYTES_A_TOKEN = 20  # of a run that is remembered: what of the prompt went on where


@dataclass(frozen=True)
class _Held:
    visitor: weakref.ref[Visitor]
    size: int


class Holdings:
    """Keeps the texts and results of all visitors within `most` bytes by forgetting those of the oldest."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, visitor: Visitor) -> None:
        """`visitor` has a document now, or is about to have something measured on it."""
        with self._lock:
            self._held = OrderedDict((key, held) for key, held in self._held.items() if held.visitor() is not None)
            self._held[id(visitor)] = _Held(weakref.ref(visitor), footprint(visitor))
            self._held.move_to_end(id(visitor))
            while self.size > self._most and len(self._held) > 1:
                _, oldest = self._held.popitem(last=False)
                gone = oldest.visitor()
                if gone is not None:
                    gone.forget()

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return sum(held.size for held in self._held.values())


def footprint(visitor: Visitor) -> int:
    """Bytes that a visitor's document takes with a run of it, and with what else was measured on it, about."""
    subjects = (*visitor.belongs.values(), *(past.subject for past in visitor.history))
    whole = None if visitor.taken is None else visitor.taken.whole
    own = (visitor.document, whole, visitor.uploaded, visitor.talk.document)
    held = (*own, *(subject.document for subject in subjects))
    mapped = (*(past.kept for past in visitor.history), *(turn.kept for turn in visitor.talk.turns))
    maps = MAP_BYTES_A_TOKEN * sum(kept.tokens for kept in mapped)
    texts = {id(document): document.text for document in held if document is not None}
    if visitor.opened is not None:
        steps = visitor.opened.run.pruned.pruned
        maps += MAP_BYTES_A_TOKEN * (1 + len(steps)) * len(visitor.opened.run.prompt or ())
    measured = 1 + (visitor.spread is not None) + (visitor.rivals is not None)
    return 2 * sum(map(sys.getsizeof, texts.values())) + maps + measured * BYTES_A_TOKEN * visitor.tokens
