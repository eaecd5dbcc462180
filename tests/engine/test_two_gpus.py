"""On a machine of two GPUs: the second one is as good as the first, alone, beside it, and for half of the layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from accelerate import dispatch_model

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.model.loading import wrap_model
from sliminfer.ops import dispatch as ops
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_model, tiny_tokenizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]
CONFIG = SlimConfig(
    steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=16, active=0.6, decode_block_size=8, refresh=1
)
REQUEST = RunRequest("The lamp of the north tower was lit at nine. " * 40, "When?", CONFIG, 12, ignore_eos=True)
SIZES = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "layers": 6}


@pytest.fixture(autouse=True)
def kernels_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel that gives way to torch fails the test: its warning is an error."""
    monkeypatch.setattr(ops, "_state", ops._State())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def engine_on(place: str) -> SlimEngine:
    model, first = tiny_model(dtype=torch.bfloat16, **SIZES), torch.device("cuda", 0)
    if place == "balanced":
        spread = {f"model.layers.{index}": index // 3 for index in range(6)}
        spread |= {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.norm": 1, "lm_head": 1}
        model = dispatch_model(model, spread)
    else:
        first = torch.device(place)
        model = model.to(first)
    return SlimEngine(wrap_model("tiny", model, tiny_tokenizer(), first, "sdpa"))


def run(engine: SlimEngine) -> dict[str, Any]:
    result = RunResult.of(engine.compare(REQUEST))
    assert result.failed == {}
    return {side: finished.metrics for side, finished in result.finished.items()}


@pytest.mark.parametrize("place", ["cuda:1", "balanced"])
def test_what_it_says_and_counts_is_what_the_first_says_and_counts(place: str) -> None:
    first, other = run(engine_on("cuda:0")), run(engine_on(place))
    for side in ("full", "pruned"):
        ours, theirs = other[side], first[side]
        if place == "cuda:1":
            assert ours.token_ids == theirs.token_ids
            assert ours.kernels == theirs.kernels == "triton"
        assert ours.kv == theirs.kv
        assert ours.tokens_per_layer == theirs.tokens_per_layer
        if ours.decoding == theirs.decoding:  # the buffers of a graph count, and layers on two devices have none
            assert 0.5 < ours.peak_bytes / theirs.peak_bytes < 2
        assert (ours.select_s > 0) is (side == "pruned")


def test_both_run_at_the_same_time_and_say_what_each_says_alone() -> None:
    engines = [engine_on("cuda:0"), engine_on("cuda:1")]
    alone = [run(engine)["pruned"].token_ids for engine in engines]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            together = list(pool.map(run, engines))
            assert [each["pruned"].token_ids for each in together] == alone
            assert {each[side].kernels for each in together for side in ("full", "pruned")} == {"triton"}


def test_a_process_whose_current_device_is_another_runs_every_kernel() -> None:
    expected = run(engine_on("cuda:0"))["pruned"]
    engine = engine_on("cuda:0")
    with torch.cuda.device(1):
        found = run(engine)["pruned"]
    assert found.token_ids == expected.token_ids
    assert found.kernels == "triton"
