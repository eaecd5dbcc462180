"""SlimCache under a toy decoder: what attention reads, and that no timing can change it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.cache import HostPool, Link, SlimCache, SyncCopyEngine, VirtualClock
from sliminfer.cache.layers import SlotLayer
from sliminfer.cache.records import Refresh, StagePlaced, StepCost, to_dict
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.cache.toy import Case, PoisonEngine, engines, half_resident

STEPS = 12


@st.composite
def cases(draw: st.DrawFn) -> Case:
    size = draw(st.sampled_from([4, 8, 12]))
    keep = draw(st.sampled_from([(0.9, 0.6), (0.7, 0.7), (0.5, 0.3)]))
    config = SlimConfig(
        steps=(PruneStep(1, keep[0]), PruneStep(3, keep[1])),
        block_size=size,
        local=draw(st.integers(1, 20)),
        sink=draw(st.integers(0, 2)),
        active=draw(st.sampled_from([0.2, 0.5, 0.8, 72])),
        active_preserve=draw(st.booleans()),
        score_layer=draw(st.sampled_from(["previous", "own", "both"])),
        refresh=draw(st.integers(1, 3)),
        gamma=draw(st.sampled_from([0.5, 0.9, 1.0])),
        decode_block_size=draw(st.sampled_from([4, 8, 12])),
        decode_unit_size=draw(st.sampled_from([1, 2, 4])),
    )
    return Case(draw(st.integers(90, 160)), config, seed=draw(st.integers(0, 1000)))


@given(cases(), st.floats(1e5, 1e9), st.floats(0, 1e-2))
@settings(max_examples=12, deadline=None)
def test_engine_prefetch_and_link_change_no_bit(case: Case, bandwidth: float, latency: float) -> None:
    expected = None
    for name, factory in engines(clock := VirtualClock(), Link(bandwidth, latency)).items():
        cache = case.cache(engine_for=factory)
        states = torch.stack(case.answer(cache, STEPS, after_layer=lambda: clock.advance(1e-4)))
        assert bool(states.isfinite().all()), f"{name} read a block before it was there"
        cache.close()
        events = [event for event in cache.drain_events() if isinstance(event, Refresh)]
        if expected is None:
            expected = states, events
        assert torch.equal(states, expected[0]), name
        assert events == expected[1]


@given(cases())
@settings(max_examples=25, deadline=None)
def test_slots_hold_exactly_their_blocks_and_every_survivor_is_recoverable(case: Case) -> None:
    plain = Case(case.tokens, case.config.with_changes(active=None), seed=case.seed)
    reference = plain.cache()
    plain.answer(reference, 0)
    cache = case.cache()

    def check() -> None:
        for index, layer in enumerate(cache.layers):
            full = reference.layers[index].store[:, :, : reference.layers[index].length]
            if not isinstance(layer, SlotLayer):
                assert torch.equal(layer.store[:, :, : full.shape[2]], full)
                continue
            managed = next(m for m in cache._managed.values() if index in m.stage.layers)
            tokens = [t for block in managed.planner.order for t in range(*managed.survivors.span(block))]
            # Loads of the last look are in by now: the step that follows a look waits for them.
            assert torch.equal(layer.store[:, :, : len(tokens)], full[:, :, tokens])
            for block in range(len(managed.survivors)):
                start, end = managed.survivors.span(block)
                assert torch.equal(layer.host_block(block)[:, :, : end - start], full[:, :, start:end])
            assert cache.key_positions(index).tolist() == [managed.survivors.positions[t] for t in tokens]

    case.answer(cache, STEPS, after_step=check)
    cache.close()


@given(cases())
@settings(max_examples=15, deadline=None)
def test_attention_over_slots_equals_attention_over_the_same_tokens_in_order(case: Case) -> None:
    """With a single look the working set is fixed, and a plain cache of just those tokens is the oracle."""
    case.config = case.config.with_changes(gamma=0.0)
    cache = case.cache()
    states = case.answer(cache, 3)
    resident = {i: cache.key_positions(i) for i in range(case.layers)}
    sets = {i: found.sort().values for i, found in resident.items() if found is not None}
    plain = Case(case.tokens, case.config.with_changes(active=None), seed=case.seed)
    oracle = plain.cache()

    def shrink() -> None:
        for index, layer in enumerate(oracle.layers):
            kept = plain.kept()
            alive = kept[3] if index >= 3 else kept[1] if index >= 1 else torch.arange(case.tokens)
            if index in sets and layer.length == len(alive):
                rows = torch.searchsorted(alive, sets[index])
                layer.store = layer.store[:, :, rows].clone()
                layer.length = layer.prompt_length = len(rows)

    expected = plain.answer(oracle, 3, after_step=shrink)
    torch.testing.assert_close(torch.stack(states), torch.stack(expected), rtol=1e-4, atol=1e-4)


@given(cases())
@settings(max_examples=15, deadline=None)
def test_all_survivors_active_is_the_plain_cache(case: Case) -> None:
    plain = Case(case.tokens, case.config.with_changes(active=None), seed=case.seed)
    case.config = case.config.with_changes(active=1.0)
    cache = case.cache()
    expected, states = plain.answer(plain.cache(), STEPS), case.answer(cache, STEPS)
    assert all(map(torch.equal, states, expected))
    assert not any(layer.host for layer in cache.kv_bytes())


@given(cases())
@settings(max_examples=25, deadline=None)
def test_byte_counts_are_those_of_the_tensors_held_and_events_add_up(case: Case) -> None:
    pool = HostPool(slab_bytes=1 << 14)
    made: list[SyncCopyEngine] = []

    def factory(device: torch.device) -> SyncCopyEngine:
        made.append(SyncCopyEngine())
        return made[-1]

    cache = case.cache(pool=pool, engine_for=factory)

    def check() -> None:
        for layer, counted in zip(cache.layers, cache.kv_bytes(), strict=True):
            held = [layer.store, getattr(layer, "units", None), getattr(layer, "_source", None)]
            assert counted.device == sum(t.untyped_storage().nbytes() for t in held if t is not None)
            assert counted.host == sum(span.nbytes for span in getattr(layer, "_host", ()))
            assert counted.prompt == layer.prompt_length * layer.token_bytes
        assert sum(layer.host for layer in cache.kv_bytes()) <= cache.host_slab_bytes
        assert cache.host_slab_bytes == pool.held_bytes - pool.free_bytes

    case.answer(cache, STEPS, after_step=check)
    cache.close()
    events = cache.drain_events()
    loaded = sum(event.nbytes for event in events if isinstance(event, Refresh))
    placed = [event for event in events if isinstance(event, StagePlaced)]
    offloaded = sum(event.tokens * event.token_bytes for event in placed if event.host_bytes)
    assert sum(event.nbytes for event in events if isinstance(event, StepCost)) == loaded + offloaded
    assert sum(engine.stats().nbytes for engine in made) == loaded + offloaded
    for event in events:
        if isinstance(event, Refresh):
            stage = placed[event.stage]
            assert event.nbytes == len(event.loads) * stage.block_bytes
            assert len(event.scores) == len(stage.extents)
    assert all(to_dict(event)["type"] == type(event).__name__ for event in events)


def test_swaps_do_happen_and_loads_overlap_with_earlier_layers() -> None:
    case, clock = half_resident(), VirtualClock()
    cache = case.cache(engine_for=lambda device: PoisonEngine(clock, Link(bandwidth=1e12, latency_s=1e-6)))
    case.answer(cache, STEPS, after_layer=lambda: clock.advance(1.0))
    cache.close()
    events = cache.drain_events()
    assert sum(bool(event.loads) for event in events if isinstance(event, Refresh)) >= 4
    assert sum(event.stall_s for event in events if isinstance(event, StepCost)) == 0.0


def test_a_look_every_refresh_steps_takes_effect_in_the_next() -> None:
    case = half_resident(refresh=4)
    cache = case.cache()
    case.answer(cache, STEPS + 1)
    looks = [event for event in cache.drain_events() if isinstance(event, Refresh)]
    assert sorted({event.step for event in looks}) == [5, 9, 13]
    assert {event.stage for event in looks} == {1, 2}


def test_the_tail_grows_in_place_and_rarely() -> None:
    case = half_resident()
    cache = case.cache(reserve=4)
    buffers: set[int] = set()
    case.answer(cache, 60, after_step=lambda: buffers.add(cache.layers[4].store.data_ptr()))
    assert len(buffers) <= 6  # 4, 8, 16, 32, 64 tokens of room, and perhaps prefill's
    assert cache.layers[0].get_seq_length() == case.tokens + 60
    assert cache.get_query_offset(4) == cache.layers[4].length < cache.get_seq_length(4)
    enough = case.cache(reserve=60)
    buffers.clear()
    case.answer(enough, 60, after_step=lambda: buffers.add(enough.layers[0].store.data_ptr()))
    assert len(buffers) == 1


def test_a_prompt_may_come_in_pieces() -> None:
    keys = torch.randn(1, 2, 50, 8)
    cache = SlimCache(SlimConfig(), 1, half_resident().blocks, reserve=3)
    for start in range(0, 50, 7):
        got, _ = cache.update(keys[:, :, start : start + 7], keys[:, :, start : start + 7], 0)
    assert torch.equal(got, keys)
    cache.finish_prefill([torch.arange(50)])
    assert cache.kv_bytes()[0].prompt == 2 * keys.nbytes


def test_a_batch_is_refused() -> None:
    cache = SlimCache(SlimConfig(), 1, half_resident().blocks)
    with pytest.raises(ConfigError, match="Batch size 2"):
        cache.update(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), 0)


def test_a_prefill_without_its_query_is_a_programming_error() -> None:
    case = half_resident()
    cache = case.cache()
    cache.wants_query = lambda layer: False  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="observe_query was not called for layer 0"):
        case.answer(cache, 0)


def test_a_cache_that_is_dropped_gives_its_slabs_back() -> None:
    pool, case = HostPool(slab_bytes=1 << 14), half_resident()
    cache = case.cache(pool=pool)
    case.answer(cache, 3)
    assert pool.free_bytes < pool.held_bytes
    del cache
    gc.collect()
    assert pool.free_bytes == pool.held_bytes


def test_a_cpu_run_never_imports_the_cuda_engine() -> None:
    code = (
        "import sys, torch; from tests.cache.toy import half_resident; case = half_resident();"
        "case.answer(case.cache(), 3);"
        "assert not torch.cuda.is_initialized() and 'sliminfer.cache.cuda_engine' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
