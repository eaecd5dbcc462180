"""The timeline's arrays follow from the events, and a simulated link behaves like one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sliminfer.cache import Link
from sliminfer.cache.planner import Residency
from sliminfer.cache.records import CacheEvent, Refresh, StagePlaced
from sliminfer.cache.timeline import measured, replay
from tests.cache.toy import half_resident

STEPS = 14


@pytest.fixture(scope="module")
def run() -> tuple[list[CacheEvent], int, int, list[tuple[int, ...]]]:
    """Events of a run, its device and host bytes at the end, and stage 2's working set after each step."""
    case = half_resident()
    cache = case.cache()
    sets: list[tuple[int, ...]] = []
    case.answer(cache, STEPS, after_step=lambda: sets.append(cache._managed[2].planner.resident))
    held = cache.kv_bytes()
    device = sum(layer.prompt + layer.tail + layer.units for layer in held)
    host = sum(layer.host for layer in held)
    cache.close()
    return cache.drain_events(), device, host, sets


def test_states_are_the_planners_working_sets(run) -> None:
    events, _, _, sets = run
    timeline = measured(events, [float(i) for i in range(STEPS + 1)])
    stage = timeline.stages[2]
    assert stage.states.shape == (len(stage.extents), STEPS + 1)
    for step, resident in enumerate(sets):
        assert tuple(np.flatnonzero(stage.states[:, step] != Residency.HOST)) == resident
    assert bool((stage.states[list(stage.pinned)] == Residency.DEVICE).all())
    assert bool((timeline.stages[0].states == Residency.DEVICE).all())
    loads = {(b, e.step) for e in events if isinstance(e, Refresh) and e.stage == 2 for b, _ in e.loads}
    assert loads == set(zip(*np.nonzero(stage.states == Residency.LOADING), strict=True))
    assert timeline.swaps == sum(bool(e.loads) for e in events if isinstance(e, Refresh))


def test_bytes_are_the_caches_own(run) -> None:
    events, device, host, _ = run
    timeline = measured(events, [0.0] * (STEPS + 1))
    assert timeline.device_bytes[-1] == device
    assert bool((timeline.host_bytes == host).all())
    assert timeline.full_bytes[0] == 118 * 5 * 2 * 2 * 8 * 4
    assert timeline.moved_bytes.sum() == sum(e.nbytes for e in events if isinstance(e, Refresh))
    assert timeline.stall_s.sum() == pytest.approx(timeline.transfer_s.sum())  # the CPU's engine hides nothing
    assert timeline.hidden == pytest.approx(0.0, abs=1e-9)


def test_a_faster_link_hides_more_and_never_costs_time(run) -> None:
    events = run[0]
    found = [replay(events, STEPS, 1e-3, Link(bandwidth, 1e-6)) for bandwidth in (1e5, 1e6, 1e7, 1e10)]
    hidden = [timeline.hidden for timeline in found]
    total = [float(timeline.step_s.sum()) for timeline in found]
    assert hidden == sorted(hidden)
    assert total == sorted(total, reverse=True)
    assert hidden[-1] > 0.99
    assert hidden[0] < 0.5
    assert total[-1] == pytest.approx(STEPS * 5 * 1e-3, rel=1e-3)
    for timeline in found:
        assert timeline.simulated
        np.testing.assert_allclose(timeline.step_s[1:], 5e-3 + timeline.stall_s[1:])
        assert np.array_equal(timeline.stages[1].states, found[0].stages[1].states)


def test_a_shorter_answer_is_a_prefix(run) -> None:
    events = run[0]
    long, short = replay(events, STEPS, 1e-3, Link()), replay(events, 5, 1e-3, Link())
    np.testing.assert_array_equal(short.stages[2].states, long.stages[2].states[:, :6])
    np.testing.assert_array_equal(short.moved_bytes, long.moved_bytes[:6])


def test_a_run_without_decode_memory_moves_nothing() -> None:
    placed = StagePlaced(0, 0, 2, 16, ((0, 8), (8, 16)), (1,), (0, 1), 64, 8, 128, 0)
    timeline = replay([placed], 3, 1e-3, Link())
    assert math.isnan(timeline.hidden)
    assert timeline.swaps == 0
    assert timeline.device_bytes.tolist() == timeline.full_bytes.tolist() == [128, 136, 144, 152]
