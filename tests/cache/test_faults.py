"""Injected faults: each has its documented answer, and the next request is served."""

from __future__ import annotations

import pytest
import torch

from sliminfer.cache import CopyError, HostPool, Link, SimCopyEngine, SlimCache, SyncCopyEngine, VirtualClock
from sliminfer.cache.copies import Copy
from sliminfer.cache.records import StagePlaced
from sliminfer.errors import ConfigError, MemoryLimitError
from tests.cache.toy import Case, half_resident


def pool_of(limit: int | None = None) -> HostPool:
    return HostPool(limit, slab_bytes=1 << 14)


def served(case: Case, pool: HostPool) -> None:
    """A whole request on `pool`, with the answer that an untroubled one has."""
    cache, alone = case.cache(pool=pool), case.cache()
    assert all(map(torch.equal, case.answer(cache, 6), case.answer(alone, 6)))
    cache.close()
    assert pool.free_bytes == pool.held_bytes


class Breaking(SyncCopyEngine):
    """Raises in the middle of batch number `batch`."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.left = batch

    def submit(self, copies: list[Copy]) -> int:  # type: ignore[override]
        self.left -= 1
        if self.left == 0:
            return super().submit([*copies[: len(copies) // 2], Exploding(), *copies[len(copies) // 2 :]])
        return super().submit(copies)


class Exploding:
    nbytes = 0

    def run(self) -> None:
        raise RuntimeError("an illegal memory access was encountered")


# Batches 1 to 4 are the offload of four managed layers; later ones are loads of the decode steps.
@pytest.mark.parametrize("batch", [1, 3, 5, 6, 9])
def test_a_copy_that_raises_midway_ends_the_request_and_no_more(batch: int) -> None:
    case, pool = half_resident(), pool_of()
    cache = case.cache(pool=pool, engine_for=lambda device: Breaking(batch))
    with pytest.raises(CopyError, match=r"illegal memory access .*: ask again"):
        case.answer(cache, 10)
    assert pool.free_bytes == pool.held_bytes
    assert sum(layer.device + layer.host for layer in cache.kv_bytes()) == 0
    with pytest.raises(ConfigError, match="closed"):
        cache.update(torch.zeros(1, 2, 1, 8), torch.zeros(1, 2, 1, 8), 0)
    served(case, pool)


class LateFailure(SimCopyEngine):
    """A copy fails only when it is waited for, in mid-forward."""

    def wait(self, ticket: int) -> None:
        raise CopyError(RuntimeError("the link is down"))


def test_a_wait_that_fails_inside_a_layer_closes_the_cache() -> None:
    case, pool = half_resident(), pool_of()
    cache = case.cache(pool=pool, engine_for=lambda device: LateFailure(VirtualClock()))
    with pytest.raises(CopyError, match="the link is down"):
        case.answer(cache, 10)
    assert pool.free_bytes == pool.held_bytes
    served(case, pool)


def test_a_full_host_pool_keeps_the_stage_on_the_device_and_says_so() -> None:
    case = half_resident()
    first_stage = 10 * 2 * 2 * 2 * 8 * 8 * 4  # survivors' blocks, layers, K and V, heads, tokens, width, fp32
    pool = pool_of(limit=-(-first_stage // (1 << 14)) * (1 << 14))
    cache, plain = case.cache(pool=pool), half_resident(active=None)
    with pytest.warns(RuntimeWarning, match=r"keeps all its blocks on the device: The host pool is full: [\d,]+ of"):
        states = case.answer(cache, 6)
    placed = [event for event in cache.drain_events() if isinstance(event, StagePlaced)]
    kept = [event for event in placed if event.note]
    assert kept
    for event in kept:
        assert event.host_bytes == 0
        assert event.resident == tuple(range(len(event.extents)))
    if len(kept) == 2:
        assert all(map(torch.equal, states, plain.answer(plain.cache(), 6)))
    cache.close()
    assert pool.free_bytes == pool.held_bytes


def test_a_host_pool_without_any_room_is_the_plain_cache() -> None:
    case, plain = half_resident(), half_resident(active=None)
    cache = case.cache(pool=pool_of(limit=0))
    with pytest.warns(RuntimeWarning, match="The host pool is full"):
        states = case.answer(cache, 6)
    assert all(map(torch.equal, states, plain.answer(plain.cache(), 6)))


def test_a_device_too_small_for_the_working_sets_is_refused_with_the_numbers() -> None:
    case, pool = half_resident(), pool_of()
    probe = case.cache(pool=pool)
    case.answer(probe, 0)
    needed = sum(layer.device - layer.transit for layer in probe.kv_bytes())
    probe.close()
    with pytest.raises(
        MemoryLimitError, match=rf"needs {needed:,} bytes on the device, but its limit is {needed - 1:,}"
    ):
        case.answer(case.cache(pool=pool, device_limit=needed - 1), 0)
    assert pool.free_bytes == pool.held_bytes
    case.answer(case.cache(pool=pool, device_limit=needed), 0)


def test_a_device_out_of_memory_is_refused_and_everything_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    case, pool = half_resident(), pool_of()
    cache = case.cache(pool=pool)
    # A real allocation that cannot succeed on any device, in place of the working set's.
    real = torch.Tensor.index_select
    monkeypatch.setattr(torch.Tensor, "index_select", lambda *a: (_ for _ in ()).throw(torch.OutOfMemoryError("x")))
    with pytest.raises(MemoryLimitError, match="lower active"):
        case.answer(cache, 0)
    monkeypatch.setattr(torch.Tensor, "index_select", real)
    assert pool.free_bytes == pool.held_bytes
    served(case, pool)


def test_a_token_budget_below_the_forced_blocks_is_refused_at_construction() -> None:
    case = half_resident(active=8)
    with pytest.raises(ConfigError, match="always kept"):
        case.cache()


@pytest.mark.parametrize("layers_run", [1, 2, 6, 7])
def test_a_stop_in_mid_decode_drains_the_copies_in_flight(layers_run: int) -> None:
    case, pool, clock = half_resident(), pool_of(), VirtualClock()
    engine = SimCopyEngine(clock, Link(bandwidth=1e3, latency_s=1.0))  # so slow that copies are always in flight
    cache = case.cache(pool=pool, engine_for=lambda device: engine)
    left = [5 + layers_run]

    class Stop(Exception):
        pass

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            raise Stop

    with pytest.raises(Stop):
        case.answer(cache, 20, after_layer=count)
    assert engine._queue
    cache.close()
    assert not engine._queue
    assert pool.free_bytes == pool.held_bytes
    cache.close()
    served(case, pool)


def test_a_stop_in_mid_prefill_leaves_nothing_behind() -> None:
    case, pool = half_resident(), pool_of()
    cache: SlimCache = case.cache(pool=pool)
    cache.update(torch.zeros(1, 2, 50, 8), torch.zeros(1, 2, 50, 8), 0)
    cache.close()
    assert pool.held_bytes == 0
    assert sum(layer.device for layer in cache.kv_bytes()) == 0
