"""Copy engines: order, tickets, time on the virtual clock, and copies that fail."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.cache import CopyError, Link, OnDemandEngine, SimCopyEngine, SyncCopyEngine, VirtualClock
from sliminfer.cache.copies import TensorCopy
from sliminfer.cache.copy_engines import copy_engine_for


class Broken:
    nbytes = 8

    def run(self) -> None:
        raise RuntimeError("CUDA error: an illegal memory access\nstack")


def copy_of(value: float) -> TensorCopy:
    return TensorCopy(torch.zeros(4), torch.full((4,), value))


def test_sync_copies_before_submit_returns_and_counts_bytes() -> None:
    engine, copy = SyncCopyEngine(), copy_of(3.0)
    ticket = engine.submit([copy, copy_of(1.0)])
    assert bool((copy.target == 3.0).all())
    assert engine.poll(ticket)
    stats = engine.stats()
    assert stats.nbytes == 32
    assert stats.stall_s == stats.transfer_s > 0


def test_on_demand_starts_copies_at_the_wait_and_keeps_their_order() -> None:
    engine = OnDemandEngine(SyncCopyEngine())
    target = torch.zeros(4)
    first = engine.submit([TensorCopy(target, torch.full((4,), 1.0))])
    second = engine.submit([TensorCopy(target, torch.full((4,), 2.0))])
    third = engine.submit([TensorCopy(target, torch.full((4,), 3.0))])
    assert not engine.poll(first)
    assert float(target.sum()) == 0
    engine.wait(second)
    assert float(target[0]) == 2.0
    assert engine.poll(first)
    assert not engine.poll(third)
    engine.close()
    assert float(target[0]) == 3.0


def test_sim_copies_arrive_when_the_link_says() -> None:
    clock = VirtualClock()
    engine = SimCopyEngine(clock, Link(bandwidth=16.0, latency_s=0.5))
    first, second = copy_of(1.0), copy_of(2.0)
    early, late = engine.submit([first]), engine.submit([second])  # 0.5 + 16 / 16 seconds each, one after the other
    clock.advance(1.49)
    assert not engine.poll(early)
    assert float(first.target.sum()) == 0
    clock.advance(0.01)
    assert engine.poll(early)
    assert not engine.poll(late)
    engine.wait(late)
    assert clock.now == pytest.approx(3.0)
    assert float(second.target[0]) == 2.0
    stats = engine.stats()
    assert stats.transfer_s == pytest.approx(3.0)
    assert stats.stall_s == pytest.approx(1.5)
    assert stats.nbytes == 32


def test_a_wait_for_a_copy_that_arrived_costs_nothing() -> None:
    clock = VirtualClock()
    engine = SimCopyEngine(clock, Link(bandwidth=16.0, latency_s=0.0))
    ticket = engine.submit([copy_of(1.0)])
    clock.advance(5.0)
    engine.wait(ticket)
    assert engine.stats().stall_s == 0.0
    assert clock.now == 5.0


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 3)), min_size=1, max_size=12), st.floats(0.5, 100))
@settings(max_examples=100, deadline=None)
def test_sim_time_adds_up(batches: list[tuple[int, float]], bandwidth: float) -> None:
    clock = VirtualClock()
    engine = SimCopyEngine(clock, Link(bandwidth, latency_s=0.1))
    computed = 0.0
    tickets = []
    for count, seconds in batches:
        tickets.append(engine.submit([TensorCopy(torch.zeros(count), torch.ones(count))]))
        clock.advance(seconds)
        computed += seconds
    for ticket in tickets:
        engine.wait(ticket)
        assert engine.poll(ticket)
    stats = engine.stats()
    assert clock.now == pytest.approx(computed + stats.stall_s)
    assert stats.nbytes == 4 * sum(count for count, _ in batches)
    assert clock.now >= stats.transfer_s - 1e-9
    assert 0 <= stats.stall_s <= stats.transfer_s + 1e-9


@pytest.mark.parametrize("name", ["sync", "on demand", "sim"])
def test_a_copy_that_raises_becomes_one_sentence_with_the_remedy(name: str) -> None:
    engine = {
        "sync": SyncCopyEngine(),
        "on demand": OnDemandEngine(SyncCopyEngine()),
        "sim": SimCopyEngine(VirtualClock()),
    }[name]
    good = copy_of(1.0)
    with pytest.raises(CopyError, match="set active to none") as caught:
        engine.wait(engine.submit([good, Broken()]))
    assert "stack" not in str(caught.value)
    assert float(good.target[0]) == 1.0


def test_a_cpu_gets_the_engine_that_needs_no_stream() -> None:
    assert isinstance(copy_engine_for(torch.device("cpu")), SyncCopyEngine)
