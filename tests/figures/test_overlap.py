"""Two maps over each other: every token of every layer has one fate, and the counts add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.engine.events import BlocksPruned
from viz.figures.kept_map import KeptMap
from viz.figures.overlap import by_layer, overlap_grid, overlap_table, overlap_words

TOKENS, LAYERS = 64, 6


def kept(positions: list[int], layer: int) -> KeptMap:
    chosen = np.array(sorted(positions), np.int32)
    return KeptMap.of(TOKENS, LAYERS, [BlocksPruned("pruned", 0.0, layer, TOKENS, chosen, 8, None, np.nan, ())])


POSITIONS = st.lists(st.integers(0, TOKENS - 1), min_size=1, unique=True)


@settings(max_examples=30)
@given(POSITIONS, POSITIONS, st.integers(1, LAYERS - 1), st.integers(1, LAYERS - 1))
def test_fates_are_those_of_the_two_maps(one: list[int], other: list[int], first: int, second: int) -> None:
    a, b = kept(one, first), kept(other, second)
    fates = by_layer(a, b)
    for layer in range(LAYERS):
        mine = set(one) if layer >= first else set(range(TOKENS))
        theirs = set(other) if layer >= second else set(range(TOKENS))
        found = [set(np.flatnonzero(fates[layer] == fate).tolist()) for fate in range(4)]
        assert found == [mine & theirs, mine - theirs, theirs - mine, set(range(TOKENS)) - mine - theirs]
    grid = overlap_grid(a, b)
    assert grid.cells.shape == (LAYERS, TOKENS)
    assert np.array_equal(grid.cells, fates)  # one token a column
    assert all(sum(row[1:5]) == TOKENS for row in overlap_table(fates, ("A", "B")).rows)


def test_a_run_over_itself_differs_nowhere_and_other_prompts_are_refused() -> None:
    one = kept([1, 5, 9], 2)
    assert "the same 3 tokens" in overlap_words(one, one, ("A", "B"))
    with pytest.raises(ValueError, match="one prompt"):
        overlap_grid(one, KeptMap.of(TOKENS + 1, LAYERS, []))
