"""Where no block moved, the Cache tab says why and what would make one move."""

from __future__ import annotations

from sliminfer.cache import Refresh, StagePlaced
from viz.page.cache import still


def placed(resident: tuple[int, ...], pinned: tuple[int, ...] = (0, 3)) -> StagePlaced:
    extents = tuple((8 * block, 8 * block + 8) for block in range(4))
    return StagePlaced(1, 4, 8, 32, extents, pinned, resident, 100, 10, 200, 400)


def look(loads: tuple[tuple[int, int], ...]) -> Refresh:
    return Refresh(step=1, stage=1, scores=(1.0,) * 4, overlap=0.5, loads=loads, frees=(), nbytes=100 * len(loads))


def test_it_is_said_why_nothing_moved() -> None:
    assert "all kept blocks" in still((placed((0, 1, 2, 3)), look(())), 6)
    assert "2 of the 4 blocks" in still((placed((0, 3)), look(())), 6)
    assert "within 6 tokens" in still((placed((0, 1, 3)), look(())), 6)


def test_nothing_is_said_where_a_block_moved() -> None:
    assert still((placed((0, 1, 3)), look(((2, 1),))), 6) == ""
