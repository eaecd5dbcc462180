"""A thousand requests in a row hold no more memory than a hundred."""

from __future__ import annotations

import gc

import psutil
import torch

from sliminfer.cache import HostPool, SlimCache
from tests.cache.toy import Case, half_resident


def request(case: Case, pool: HostPool, prompt: list[tuple[torch.Tensor, torch.Tensor]], number: int) -> None:
    """A request of the cache alone: prompts of changing length, every fifth one stopped in mid-decode."""
    cut = 60 + number % 59
    cache = SlimCache(case.config, 5, Case(cut, case.config).blocks, pool=pool, reserve=8)
    alive = torch.arange(cut)
    positions = [alive if layer == 0 else alive[cut // 2 :] for layer in range(5)]
    query = torch.randn(4, 1, 8)
    for layer, (keys, values) in enumerate(prompt):
        if cache.wants_query(layer):
            cache.observe_query(layer, query)
        kept = positions[layer]
        cache.update(keys[:, :, kept], values[:, :, kept], layer)
    cache.finish_prefill(positions)
    for step in range(4):
        cache.begin_step()
        for layer in range(5):
            if number % 5 == 0 and step == 3 and layer == 2:
                cache.close()
                return
            if cache.wants_query(layer):
                cache.observe_query(layer, torch.randn(4, 1, 8))
            cache.update(query[None, :2], query[None, :2], layer)
    cache.close()


def test_memory_is_flat_over_a_thousand_requests() -> None:
    torch.manual_seed(0)
    case, pool, process = half_resident(), HostPool(slab_bytes=1 << 13), psutil.Process()
    prompt = [(torch.randn(1, 2, 120, 8), torch.randn(1, 2, 120, 8)) for _ in range(5)]
    seen: dict[int, tuple[int, int]] = {}
    for number in range(1000):
        request(case, pool, prompt, number)
        assert pool.free_bytes == pool.held_bytes
        if number in (200, 999):
            gc.collect()
            tensors = sum(t.untyped_storage().nbytes() for t in gc.get_objects() if type(t) is torch.Tensor)
            seen[number] = tensors, pool.held_bytes
            resident = process.memory_info().rss
            grown = resident - seen.setdefault(-1, (resident, 0))[0]
    assert seen[200] == seen[999]
    assert grown < 8 << 20
