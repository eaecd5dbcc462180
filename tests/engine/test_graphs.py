"""Decoding by CUDA graphs: token for token the layer loop's, kept for the session, and given up without harm."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, Finished, FirstToken, Token
from sliminfer.engine.metrics import RunMetrics
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.model.loading import wrap_model
from sliminfer.ops import dispatch as ops
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_model, tiny_tokenizer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
STEPS = (PruneStep(2, 0.5), PruneStep(4, 0.3))
PRUNED = SlimConfig(steps=STEPS, block_size=8, local=16)
MANAGED = SlimConfig(steps=STEPS, block_size=8, local=16, active=0.6, decode_block_size=8, refresh=1)
SIZES: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "layers": 6}
TEXT = "The lamp of the north tower was lit at nine. "


@pytest.fixture(autouse=True)
def kernels_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel that gives way to torch fails the test: its warning is an error."""
    monkeypatch.setattr(ops, "_state", ops._State())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def engine(family: str = "llama", dtype: torch.dtype = torch.float32, device: str = "cuda:0") -> SlimEngine:
    model, place = tiny_model(family, dtype=dtype, **SIZES).to(device), torch.device(device)
    return SlimEngine(wrap_model("tiny", model, tiny_tokenizer(), place, "sdpa"))


def asked(config: SlimConfig = PRUNED, times: int = 40, most: int = 24, **changes: Any) -> RunRequest:
    return RunRequest(TEXT * times, "When?", config, most, **({"ignore_eos": True} | changes))


def run(one: SlimEngine, request: RunRequest) -> dict[str, RunMetrics]:
    result = RunResult.of(one.compare(request))
    assert result.failed == {}
    return {side: finished.metrics for side, finished in result.finished.items()}


def eagerly(one: SlimEngine, request: RunRequest) -> dict[str, RunMetrics]:
    """As `run`, by the layer loop: a module with a hook is none that a graph may stand for."""
    head = one.loaded.model.lm_head
    handle = head.register_forward_hook(lambda *_: None)
    try:
        found = run(one, request)
    finally:
        handle.remove()
    assert {metrics.decoding for metrics in found.values()} == {"eager: the model has layers or modules of its own"}
    return found


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "phi3"])
@pytest.mark.parametrize("config", [PRUNED, MANAGED], ids=["pruned", "managed"])
def test_one_answer_after_another_is_the_loops(family: str, config: SlimConfig) -> None:
    one = engine(family)
    for times, most, temperature in ((40, 24, 0.0), (3, 2, 0.0), (90, 40, 0.7), (40, 24, 0.0)):
        request = asked(config, times, most, temperature=temperature)
        by_graph, by_loop = run(one, request), eagerly(one, request)
        for side in ("full", "pruned"):
            assert by_graph[side].decoding == "graph"
            assert by_graph[side].token_ids == by_loop[side].token_ids
            assert by_graph[side].kv == by_loop[side].kv


def test_half_precision_agrees_within_its_rounding() -> None:
    one = engine(dtype=torch.bfloat16)
    by_graph, by_loop = run(one, asked(most=64)), eagerly(one, asked(most=64))
    for side in ("full", "pruned"):
        same = [a == b for a, b in zip(by_graph[side].token_ids, by_loop[side].token_ids, strict=True)]
        # Equal until two logits lie within a rounding of each other, if ever.
        assert all(same[:8])


def test_a_graph_is_captured_once_and_after_the_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    happened: list[str] = []
    capture = torch.cuda.CUDAGraph.capture_begin

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        happened.append("capture")
        return capture(self, *args, **kwargs)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_begin", noted)
    for event in one.compare(asked()):
        happened.append(type(event).__name__)
    assert happened.count("capture") == 1  # full and pruned share it
    assert happened.index("capture") > happened.index("FirstToken")
    happened.clear()
    assert len(list(one.compare(asked(times=77)))) > 0
    assert happened == []


def test_an_answer_stops_where_the_loops_does() -> None:
    one = engine()
    ids = run(one, asked())["pruned"].token_ids
    one.loaded.model.generation_config.eos_token_id = None
    found: list[Event] = []
    for event in one.run(asked()):
        found.append(event)
        if isinstance(event, Token) and event.index == 5:
            break
    shown = [event.token for event in found if isinstance(event, FirstToken | Token)]
    assert tuple(shown) == ids[:6]
    assert run(one, asked())["pruned"].token_ids == ids  # the engine goes on


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no room"), RuntimeError("operation not permitted"), TypeError("not permitted")]
)
def test_a_capture_that_fails_leaves_the_answer_to_the_loop(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    expected = eagerly(one, asked())

    def failing(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda.CUDAGraph, "capture_begin", failing)
        found = run(one, asked())
    for side in ("full", "pruned"):
        assert found[side].token_ids == expected[side].token_ids
        assert found[side].decoding.startswith("eager: ")
        assert "memory" in found[side].decoding or "not permitted" in found[side].decoding
    assert run(one, asked())["full"].decoding == "graph"


def test_weights_that_moved_are_captured_anew() -> None:
    one = engine()
    expected = run(one, asked())
    model = one.loaded.model
    held = [each.data.clone() for each in model.parameters()]
    for parameter, value in zip(model.parameters(), held, strict=True):
        parameter.data = value
    gc.collect()
    found = run(one, asked())
    assert [found[side].token_ids for side in found] == [expected[side].token_ids for side in expected]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_second_device_says_what_the_first_says() -> None:
    first, second = run(engine(device="cuda:0"), asked()), run(engine(device="cuda:1"), asked())
    for side in ("full", "pruned"):
        assert first[side].token_ids == second[side].token_ids
        assert first[side].decoding == second[side].decoding == "graph"


def test_a_finished_event_says_how_it_was_decoded() -> None:
    finished = [event for event in engine().run(asked(), "full") if isinstance(event, Finished)]
    assert [event.metrics.decoding for event in finished] == ["graph"]
