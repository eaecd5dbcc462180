"""Blocks from the host into slots: what torch's copies leave, in one launch for all layers of a stage."""

from __future__ import annotations

import importlib
import warnings

import pytest
import torch

from sliminfer.cache import HostPool
from sliminfer.cache.host_blocks import HostBlocks
from sliminfer.cache.records import Refresh
from sliminfer.kernels import load_blocks as kernel
from sliminfer.ops import dispatch as ops
from sliminfer.ops import reference
from tests.cache.toy import half_resident
from tests.kernels.checks import Draw

interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="counts what the interpreter launches")


@pytest.mark.parametrize(("heads", "size", "width"), [(2, 8, 8), (3, 5, 24), (1, 1, 16), (2, 32, 128), (2, 96, 128)])
@pytest.mark.parametrize("count", [1, 3, 70])
def test_slots_hold_what_torchs_copies_leave(
    heads: int, size: int, width: int, count: int, dtype: torch.dtype, device: torch.device
) -> None:
    draw, blocks = Draw(61, dtype, device), 80
    rooms = (count * size + 7, count * size + 2)  # layers may have grown to different rooms
    stores = [draw(2, heads, room, width) for room in rooms]
    pool = HostPool(pinned=device.type == "cuda", slab_bytes=1 << 20)
    leases = [pool.lend(blocks, 2 * heads * size * width * dtype.itemsize) for _ in stores]
    hosts = [HostBlocks(lease.spans(0, blocks), stores[0], size) for lease in leases]
    for host in hosts:
        assert host.reachable
        for block in host:
            block.copy_(draw(2, heads, size, width))
    chosen = torch.randperm(blocks, generator=draw.generator)[:count].tolist()
    slots = torch.randperm(count, generator=draw.generator).tolist()
    loads = tuple(zip(chosen, slots, strict=True))
    wanted = [store.clone() for store in stores]
    addresses = [host.addresses for host in hosts]
    reference.load_blocks(wanted[0], wanted[1:], hosts, addresses, loads)
    kernel.load_blocks(stores[0], stores[1:], hosts, addresses, loads)
    assert all(map(torch.equal, stores, wanted))


def test_rows_that_sixteen_bytes_do_not_divide_are_left_to_torch(device: torch.device) -> None:
    store = torch.zeros(2, 1, 8, 6, device=device)
    host = HostBlocks([torch.zeros(3, 2 * 4 * 6 * 4, dtype=torch.uint8)], store, 4)
    assert not host.reachable
    with pytest.raises(ValueError, match="multiples of 16"):
        kernel.load_blocks(store, (), [host], [host.addresses], [(0, 1)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="all host memory is reachable from a CPU")
def test_pageable_memory_is_left_to_torch(device: torch.device) -> None:
    store = torch.zeros(2, 1, 8, 8, device=device)
    assert not HostBlocks([torch.zeros(3, 2 * 4 * 8 * 4, dtype=torch.uint8)], store, 4).reachable


@interpreted
def test_an_exchange_is_one_launch_for_all_layers_of_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = importlib.import_module("triton.runtime.interpreter")
    run, launched = interpreter.GridExecutor.__call__, []

    def noted(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        launched.append(self.fn.__name__)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(interpreter.GridExecutor, "__call__", noted)
    case = half_resident()
    states, looks = [], []
    for kernels in ("torch", "triton"):
        cache = case.cache()
        with warnings.catch_warnings(), ops.use_kernels(kernels):
            warnings.simplefilter("error", RuntimeWarning)
            states.append(torch.stack(case.answer(cache, 8)))
        looks.append([event for event in cache.drain_events() if isinstance(event, Refresh)])
    torch.testing.assert_close(states[0], states[1])
    assert [look.loads for look in looks[0]] == [look.loads for look in looks[1]]
    exchanges = sum(bool(look.loads) for look in looks[1])
    assert launched.count("load_kernel") == exchanges > 4
