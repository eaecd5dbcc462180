"""The memory model adds up, and holds what was measured."""

from __future__ import annotations

import pytest

from sliminfer.model.known import KNOWN
from sliminfer.schedule.memory import memory_estimate

LLAMA, QWEN = KNOWN["meta-llama/Llama-3.1-8B-Instruct"], KNOWN["Qwen/Qwen2.5-0.5B-Instruct"]


def test_the_8b_model_at_128k_fits_48_gb() -> None:
    need = memory_estimate(LLAMA.shape, 131_072)
    assert need.weights == 2 * 8_030_261_248
    assert need.kv == 16 * 2**30
    assert need.above_weights == pytest.approx(26.1e9, rel=0.01)
    assert need.total == need.weights + need.kv + need.activations + need.scores + need.slack < 48e9


def test_the_estimate_holds_the_peak_that_was_measured() -> None:
    # docs/performance.md: 128K tokens in one run of Qwen2.5-0.5B in bf16 on a CPU, above the weights.
    measured = 2.57e9
    assert measured < memory_estimate(QWEN.shape, 131_072).above_weights < 1.35 * measured


def test_only_eager_attention_holds_the_scores() -> None:
    assert memory_estimate(QWEN.shape, 4096, attention="sdpa").scores == 0
    assert memory_estimate(QWEN.shape, 4096, attention="eager").scores == 8 * 14 * 4096**2
