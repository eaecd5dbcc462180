"""Host slabs: reuse, limits, and a pin that fails."""

from __future__ import annotations

import warnings

import pytest
import torch

from sliminfer.cache import HostPool
from sliminfer.errors import MemoryLimitError


def test_blocks_of_a_lease_are_disjoint_and_complete() -> None:
    pool = HostPool(slab_bytes=1 << 10)
    lease = pool.lend(count=11, block_bytes=300)
    spans = lease.spans(2, 9)
    assert [len(span) for span in spans] == [1, 3, 3, 2]
    for number, block in enumerate(block for span in lease.spans(0, 11) for block in span):
        block.fill_(number)
    flat = torch.cat(lease.spans(0, 11))
    assert flat.shape == (11, 300)
    assert torch.equal(flat[:, 0], torch.arange(11, dtype=torch.uint8))
    assert all(bool((row == row[0]).all()) for row in flat)
    assert lease.slab_bytes == pool.held_bytes == 4 << 10


def test_slabs_come_back_once_and_serve_the_next_lease() -> None:
    pool = HostPool(slab_bytes=1 << 10)
    first = pool.lend(7, 300)
    first.release()
    first.release()
    assert pool.free_bytes == pool.held_bytes == 3 << 10
    pool.lend(9, 300)
    assert pool.held_bytes == 3 << 10
    assert pool.free_bytes == 0


def test_a_full_pool_says_the_numbers_and_takes_nothing() -> None:
    pool = HostPool(limit_bytes=2048, slab_bytes=1 << 10)
    with pytest.raises(MemoryLimitError, match="2,048 of 2,048 bytes"):
        pool.lend(9, 300)
    assert pool.free_bytes == 2048
    pool.lend(6, 300).release()


def test_a_block_larger_than_a_slab_is_refused() -> None:
    with pytest.raises(MemoryLimitError, match="smaller decode_block_size"):
        HostPool(slab_bytes=1 << 10).lend(1, 1025)


def test_slabs_are_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        HostPool(slab_bytes=1000)


def test_a_pin_that_fails_warns_once_and_goes_on_pageable() -> None:
    asked: list[bool] = []

    def allocate(nbytes: int, pinned: bool) -> torch.Tensor:
        asked.append(pinned)
        if pinned:
            raise RuntimeError("cudaHostAlloc: out of memory\nsecond line")
        return torch.empty(nbytes, dtype=torch.uint8)

    pool = HostPool(pinned=True, slab_bytes=1 << 10, allocate=allocate)
    with pytest.warns(RuntimeWarning, match=r"cannot be pinned \(cudaHostAlloc: out of memory\)"):
        lease = pool.lend(3, 1024)
    assert asked == [True, False, False, False]
    assert lease.slab_bytes == 3 << 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool.lend(1, 1024)


def test_a_host_without_memory_is_reported_with_the_numbers() -> None:
    def allocate(nbytes: int, pinned: bool) -> torch.Tensor:
        raise RuntimeError("can't allocate memory")

    with pytest.raises(MemoryLimitError, match="1,024 bytes"):
        HostPool(slab_bytes=1 << 10, allocate=allocate).lend(1, 10)


def test_slabs_made_in_inference_mode_can_be_written_outside_it() -> None:
    pool = HostPool(slab_bytes=1 << 10)
    with torch.inference_mode():
        lease = pool.lend(1, 64)
    lease.spans(0, 1)[0].fill_(1)
