"""Figures of a run against independent counts: torch's own FLOP counter, scipy-free KL, real tensors."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.utils.flop_counter import FlopCounterMode

from sliminfer.cache import SlimCache
from sliminfer.engine.meters import PeakMemory, Stopwatch
from sliminfer.engine.metrics import agreement, kl_divergence, ratio
from sliminfer.engine.side_run import kv_bytes as held_bytes
from sliminfer.engine.slim import slim
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import kv_bytes, prefill_flops
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors.sliminfer import SlimInfer
from tests.tiny import FAMILIES, tiny_model, token_ids


@pytest.mark.parametrize("family", FAMILIES)
def test_flop_and_kv_model_match_what_torch_counts(family: str) -> None:
    model = tiny_model(family, "eager")  # the counter does not know the CPU's fused attention
    shape = ModelShape.of(model.config)
    config = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=10, query_window=4)
    cache = SlimCache(config, shape.layers, BlockMap.of(200, config))
    with torch.inference_mode(), slim(model, config) as loop, FlopCounterMode(display=False) as counter:
        run = loop.run(loop.decoder.embed_tokens(token_ids(200)), cache, "last")
        alive = []
        try:
            while True:
                alive.append(next(run).alive)
        except StopIteration as done:
            model.get_output_embeddings()(done.value[:, -1:])
    blocks = BlockMap.of(200, config)
    scored = [scoring for before in (1, 3) for scoring in SlimInfer.scorings(config, blocks, alive[before])]
    modelled = prefill_flops(shape, alive, scored)
    # Eager attention computes the full square.
    square = sum(4.0 * shape.query_width * (n * n - n * (n + 1) / 2) for n in alive[:-1])
    assert counter.get_total_flops() == pytest.approx(modelled + square, rel=1e-6)
    assert sum(held_bytes(cache).device) == kv_bytes(shape, alive, 4)
    assert shape.params == sum(p.numel() for n, p in model.named_parameters() if not _is_extra(n))


def _is_extra(name: str) -> bool:
    return name.endswith("bias") or "q_norm" in name or "k_norm" in name


logits = arrays(np.float32, 16, elements=st.floats(-30, 30, width=32))


@given(logits, logits)
def test_kl_is_non_negative_zero_on_itself_and_shift_invariant(a: np.ndarray, b: np.ndarray) -> None:
    assert kl_divergence(a, b) >= 0
    assert kl_divergence(a, a) == pytest.approx(0, abs=1e-9)
    assert kl_divergence(a + np.float32(3), b) == pytest.approx(kl_divergence(a, b), rel=1e-3, abs=1e-4)


def test_kl_by_hand() -> None:
    p, q = np.log(np.float32([0.5, 0.5])), np.log(np.float32([0.9, 0.1]))
    assert kl_divergence(p, q) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1), rel=1e-5)
    assert math.isnan(kl_divergence(None, q))


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_agreement_is_a_share_and_whole_only_on_equality(a: list[int], b: list[int]) -> None:
    assert 0 <= agreement(a, b) <= 1
    assert (agreement(a, b) == 1) == (a == b)


def test_ratio_of_nothing_is_nan() -> None:
    assert math.isnan(ratio(1, 0))


def test_peak_memory_sees_a_buffer_that_is_gone_again() -> None:
    meter = PeakMemory(torch.device("cpu"))
    block = torch.ones(64 * 1024 * 1024 // 4)
    del block
    assert 60e6 < meter.bytes() < 120e6
    assert PeakMemory(torch.device("cpu")).bytes() < 30e6


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user")
def test_peak_memory_is_measured_in_a_process_that_keeps_itself_to_itself() -> None:
    """As the page's does: from then on root owns what /proc says of it, which a host does not run it as."""
    code = (
        "import os, torch; from sliminfer.engine.meters import PeakMemory; cpu = torch.device('cpu');"
        "PeakMemory(cpu); from sliminfer.documents.sandbox import keep_to_itself; keep_to_itself();"
        "big = torch.ones(50_000_000); del big; os.setgid(65534); os.setuid(65534);"
        "print(os.access('/proc/self/clear_refs', os.W_OK), PeakMemory(cpu).bytes() < 50e6)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.stdout.split() == ["False", "True"], ran.stderr


def test_stopwatch_adds_up() -> None:
    watch = Stopwatch(torch.device("cpu"))
    start = time.perf_counter()
    for _ in range(3):
        with watch.span("work"):
            sum(range(20000))
    assert 0 < watch.seconds("work") <= time.perf_counter() - start
    assert watch.seconds("other") == 0
