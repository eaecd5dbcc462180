"""What a layer with a window sees, by original position."""

from __future__ import annotations

from torch import Tensor

from sliminfer.schedule.sight import Chunk


def within(window: int, queries: Tensor, keys: Tensor) -> Tensor:
    """Whether the keys at positions `keys` [k] lie in the window of the queries at `queries` [q], bool [q, k].

    A sliding window reaches `window - 1` positions back; of a chunk, a query sees what lies in its own.
    """
    if isinstance(window, Chunk):
        return keys[None, :] // int(window) == queries[:, None] // int(window)
    return keys[None, :] > (queries - window)[:, None]


def binds(window: int, first: int, last: int) -> bool:
    """Whether a query at position `last` does not see a key at `first`, before it."""
    if isinstance(window, Chunk):
        return first // window < last // window
    return last - first >= window
