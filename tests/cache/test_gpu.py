"""The CUDA copy engine on a real device: same bits as the synchronous one, copies beside the compute."""

from __future__ import annotations

import gc

import pytest
import torch

from sliminfer.cache import CopyEngine, CopyError, HostPool, OnDemandEngine, SyncCopyEngine
from sliminfer.cache.copies import TensorCopy
from sliminfer.cache.copy_engines import copy_engine_for
from sliminfer.cache.records import Refresh, StepCost
from tests.cache.toy import Case, Toy, half_resident

pytestmark = [
    pytest.mark.gpu,
    # Without a device there is no stream to test; SimCopyEngine stands in for it in the other files.
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = torch.device("cuda")
STEPS = 24


class CudaCase(Case):
    """The toy model and its prompt on the GPU, large enough for transfers to take time."""

    def toy(self) -> Toy:
        toy = super().toy()
        toy.weights = [[matrix.to(DEVICE) for matrix in layer] for layer in toy.weights]
        return toy

    def prompt(self) -> torch.Tensor:
        return super().prompt().to(DEVICE)

    def kept(self) -> dict[int, torch.Tensor]:
        return {layer: kept.to(DEVICE) for layer, kept in super().kept().items()}


def on_gpu(tokens: int = 4000, **changes: object) -> CudaCase:
    case = half_resident(**changes)
    return CudaCase(tokens, case.config, case.layers, case.seed)


def states_with(case: CudaCase, make: type | None, pool: HostPool) -> tuple[torch.Tensor, list[object]]:
    factory = copy_engine_for if make is None else (lambda device: make())
    cache = case.cache(pool=pool, engine_for=factory)
    with torch.inference_mode():
        states = torch.stack(case.answer(cache, STEPS))
    torch.cuda.synchronize()
    cache.close()
    return states, list(cache.drain_events())


class CudaOnDemand(OnDemandEngine):
    def __init__(self) -> None:
        super().__init__(copy_engine_for(DEVICE))


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_side_stream_and_prefetch_change_no_bit(gamma: float, pinned: bool) -> None:
    case, pool = on_gpu(gamma=gamma), HostPool(pinned=pinned)
    expected, looks = states_with(case, SyncCopyEngine, pool)
    for make in (None, CudaOnDemand, None):
        states, events = states_with(case, make, pool)
        assert torch.equal(states, expected)
        assert [e for e in events if isinstance(e, Refresh)] == [e for e in looks if isinstance(e, Refresh)]
    assert pool.free_bytes == pool.held_bytes
    assert pool.pinned is pinned


def test_a_slot_is_written_only_after_its_last_read() -> None:
    """A slow kernel reads the slot on the compute stream while the copy into it is submitted behind it."""
    slot = torch.ones(1 << 22, device=DEVICE)
    block = torch.full((1 << 22,), 2.0).pin_memory()
    engine: CopyEngine = copy_engine_for(DEVICE)
    for _ in range(20):
        slot.fill_(1.0)
        torch.cuda._sleep(5_000_000)
        before = slot.clone()
        ticket = engine.submit([TensorCopy(slot, block)])
        engine.wait(ticket)
        after = slot.clone()
        assert bool((before == 1.0).all())
        assert bool((after == 2.0).all())
    engine.close()


def test_transfers_hide_behind_compute_and_the_clock_says_so() -> None:
    slot = torch.zeros(1 << 24, device=DEVICE)
    block = torch.ones(1 << 24).pin_memory()
    engine = copy_engine_for(DEVICE)
    engine.wait(engine.submit([TensorCopy(slot, block)]))
    torch.cuda.synchronize()
    alone = engine.stats()
    assert alone.stall_s > 0.5 * alone.transfer_s
    ticket = engine.submit([TensorCopy(slot, block)])
    torch.cuda._sleep(100_000_000)
    engine.wait(ticket)
    torch.cuda.synchronize()
    behind = engine.stats().since(alone)
    assert behind.nbytes == slot.nbytes
    assert behind.stall_s < 0.1 * behind.transfer_s
    assert engine.poll(ticket)
    engine.close()


def test_steps_report_their_transfers() -> None:
    _, events = states_with(on_gpu(), None, HostPool(pinned=True))
    costs = [event for event in events if isinstance(event, StepCost)]
    assert sum(cost.nbytes for cost in costs) > sum(e.nbytes for e in events if isinstance(e, Refresh)) > 0
    assert sum(cost.transfer_s for cost in costs) > 0


def test_the_prefills_kv_goes_when_its_copy_is_done() -> None:
    case, pool = on_gpu(16000), HostPool(pinned=True)
    cache = case.cache(pool=pool)
    with torch.inference_mode():
        case.answer(cache, 3, after_step=torch.cuda.synchronize)
    assert all(layer.transit == 0 for layer in cache.kv_bytes())
    cache.close()


def test_device_memory_is_flat_over_requests() -> None:
    case, pool = on_gpu(), HostPool(pinned=True)
    taken = []
    for _ in range(40):
        states_with(case, None, pool)
        gc.collect()
        torch.cuda.synchronize()
        taken.append((torch.cuda.memory_allocated(), pool.held_bytes))
    assert len(set(taken[2:])) == 1


def test_a_copy_that_raises_leaves_the_device_usable() -> None:
    engine = copy_engine_for(DEVICE)
    with pytest.raises(CopyError):
        engine.submit([TensorCopy(torch.zeros(4, device=DEVICE), torch.zeros(5))])
    engine.close()
    states, _ = states_with(on_gpu(), None, HostPool(pinned=True))
    assert bool(states.isfinite().all())
