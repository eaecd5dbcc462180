"""The planner's promises, over random plans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.cache.planner import Planner, Residency, top_blocks


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, list[int], float, list[list[float]]]:
    """(blocks, slots, pinned, gamma, scores of the start and of each look), scores with many ties."""
    blocks = draw(st.integers(1, 24))
    slots = draw(st.integers(1, blocks))
    pinned = draw(st.lists(st.integers(0, blocks - 1), max_size=slots, unique=True))
    gamma = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    row = st.lists(st.integers(0, 6).map(float), min_size=blocks, max_size=blocks)
    return blocks, slots, pinned, gamma, draw(st.lists(row, min_size=2, max_size=8))


@given(plans())
@settings(max_examples=200, deadline=None)
def test_every_plan_keeps_the_slots_full_and_the_pins_resident(plan) -> None:
    blocks, slots, pinned, gamma, looks = plan
    planner = Planner(looks[0], slots, pinned, gamma)
    for scores in looks[1:]:
        before, order = set(planner.resident), planner.order
        swap = planner.plan(scores)
        after = set(planner.resident)
        assert len(after) == slots
        assert set(pinned) <= after
        assert swap.overlap == pytest.approx(len(before & set(swap.wanted)) / slots)
        if swap.loads:
            assert swap.overlap < gamma
            assert after == set(swap.wanted)
        else:
            assert after == before
            assert swap.wanted == tuple(sorted(before)) or swap.overlap >= gamma
        loaded = [block for block, _ in swap.loads]
        assert set(loaded) == after - before
        assert set(swap.frees) == before - after
        assert {slot for _, slot in swap.loads} == {order.index(block) for block in swap.frees}
        for slot, block in enumerate(planner.order):
            assert block == {s: b for b, s in swap.loads}.get(slot, order[slot])
        for block in range(blocks):
            expected = Residency.LOADING if block in loaded else Residency.DEVICE if block in after else Residency.HOST
            assert planner.state(block) == expected
        planner.loaded()
        assert all(planner.state(block) != Residency.LOADING for block in range(blocks))


@given(plans())
@settings(max_examples=100, deadline=None)
def test_wanted_blocks_are_the_stable_top_k(plan) -> None:
    _, slots, pinned, _, looks = plan
    for scores in looks:
        ranked = np.array(scores)
        ranked[pinned] = np.inf
        expected = np.sort(np.argsort(-ranked, kind="stable")[:slots])
        assert top_blocks(scores, slots, pinned) == tuple(expected)


def test_a_slot_in_flight_is_not_planned_with() -> None:
    planner = Planner([3.0, 2.0, 1.0, 0.0], 2, [], gamma=1.0)
    assert planner.plan([0.0, 1.0, 2.0, 3.0]).loads == ((2, 0), (3, 1))
    with pytest.raises(ValueError, match="still loading"):
        planner.plan([3.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize(("gamma", "swaps"), [(0.0, False), (0.5, False), (0.51, True), (1.0, True)])
def test_gamma_is_the_least_overlap_that_is_left_alone(gamma: float, swaps: bool) -> None:
    planner = Planner([3.0, 2.0, 1.0, 0.0], 2, [], gamma)
    swap = planner.plan([3.0, 0.0, 2.0, 1.0])
    assert swap.overlap == 0.5
    assert bool(swap.loads) is swaps


def test_slots_that_cannot_hold_the_pins_are_refused() -> None:
    with pytest.raises(ValueError, match="pinned"):
        Planner([1.0, 1.0, 1.0], 1, [0, 2], gamma=1.0)
