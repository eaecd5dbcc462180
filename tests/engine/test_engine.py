"""SlimEngine: the order of its events, its answers against stock generate, stops and failures."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sliminfer.engine import side_run
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import (
    BlocksPruned,
    Compared,
    Failed,
    Finished,
    FirstToken,
    LayerDone,
    PromptReady,
    Stopped,
    Token,
)
from sliminfer.engine.metrics import RunMetrics
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.errors import ConfigError, MemoryLimitError, SlimError
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import FAMILIES, tiny_loaded

DOCUMENT = "The lamp of the north tower was lit at nine. " * 12
CONFIG = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=16, query_window=4)
REQUEST = RunRequest(DOCUMENT, "When was the lamp lit?", CONFIG, max_new_tokens=6, ignore_eos=True)


@pytest.fixture(scope="module")
def engine() -> SlimEngine:
    return SlimEngine(tiny_loaded())


def test_events_come_in_order_and_add_up(engine: SlimEngine) -> None:
    events = list(engine.compare(REQUEST))
    for side in ("full", "pruned"):
        mine = [e for e in events if e.side == side and not isinstance(e, Compared)]
        kinds = [type(e) for e in mine if not isinstance(e, BlocksPruned)]
        assert kinds == [PromptReady, *[LayerDone] * 6, FirstToken, *[Token] * 5, Finished]
        assert [e.at for e in mine] == sorted(e.at for e in mine)
        finished = mine[-1]
        assert isinstance(finished, Finished)
        assert "".join(e.text for e in mine if isinstance(e, FirstToken | Token)).startswith(
            finished.text.rstrip("\ufffd")
        )
    pruned = [e for e in events if isinstance(e, BlocksPruned)]
    assert [e.layer for e in pruned] == [2, 4]
    assert all(e.side == "pruned" and len(e.kept) < e.alive_before for e in pruned)
    assert pruned[1].alive_before == len(pruned[0].kept)
    for event in pruned:
        assert event.scores is not None
        kept_blocks = set((event.kept // event.block_size).tolist())
        by_score = kept_blocks - set(event.forced)
        assert min(event.scores[list(by_score)]) == pytest.approx(event.threshold)
    assert isinstance(events[-1], Compared)
    assert pickle.loads(pickle.dumps(events[0])) == events[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_say_what_stock_generate_says(family: str) -> None:
    loaded = tiny_loaded(family)
    result = RunResult.of(SlimEngine(loaded).compare(REQUEST))
    prompt = build_prompt(loaded.tokenizer, DOCUMENT, REQUEST.question)
    ids = torch.tensor([prompt.ids])
    with torch.inference_mode():
        stock = loaded.model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None)[0, len(prompt) :]
    assert list(result.finished["full"].metrics.token_ids) == stock.tolist()
    from sliminfer.engine.slim import slim

    with torch.inference_mode(), slim(loaded.model, CONFIG, prompt.question):
        slimmed = loaded.model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None)[0, len(prompt) :]
    assert list(result.finished["pruned"].metrics.token_ids) == slimmed.tolist()


def test_metrics_of_the_pruned_side_match_its_events(engine: SlimEngine) -> None:
    events = list(engine.compare(REQUEST))
    result = RunResult.of(events)
    full, pruned = result.finished["full"].metrics, result.finished["pruned"].metrics
    alive = [e.alive for e in events if isinstance(e, LayerDone) and e.side == "pruned"]
    assert list(pruned.tokens_per_layer) == alive
    per_token = pruned.prompt_kv.device[0] // alive[0]
    assert list(pruned.prompt_kv.device) == [per_token * n for n in alive]
    assert list(pruned.kv.device) == [per_token * (n + 5) for n in alive]
    assert pruned.token_at[0] == pruned.ttft_s
    assert 0 < pruned.select_s < pruned.ttft_s
    assert full.select_s == 0
    assert result.comparison is not None
    assert result.comparison.ttft_flops > 1
    assert result.comparison.kv_bytes == pytest.approx(sum(full.prompt_kv.device) / sum(pruned.prompt_kv.device))
    assert [k.tokens for k in pruned.kept] == [sum(b - a for a, b in k.ranges) for k in pruned.kept]


def test_a_result_says_where_more_went_on_than_was_asked_for(engine: SlimEngine) -> None:
    def metrics(*steps: PruneStep) -> RunMetrics:
        config = SlimConfig(steps, block_size=8, local=24)
        (done,) = [each for each in engine.run(replace(REQUEST, config=config)) if isinstance(each, Finished)]
        return done.metrics

    forced = metrics(PruneStep(2, 0.8), PruneStep(4, 2))
    first, last = forced.kept
    assert (first.forced_alone, last.forced_alone) == (False, True)
    assert first.tokens <= first.asked
    assert last.asked == 8 < last.tokens == last.forced == first.forced
    assert f"({last.tokens:,} tokens" in forced.beyond_budget
    assert "more than the 8 that were asked for" in forced.beyond_budget
    assert "from layer 4." in forced.beyond_budget
    assert last.to_dict()["asked"] == 8
    assert metrics(PruneStep(2, 0.8)).beyond_budget == ""


@pytest.mark.parametrize("delay", [0, 1000])
def test_a_slow_listener_does_not_slow_the_clock(
    engine: SlimEngine, monkeypatch: pytest.MonkeyPatch, delay: int
) -> None:
    """On a clock by which a layer takes a second, and the listener `delay` for every event."""
    now = 0

    def layer_ran(*_: Any) -> None:
        nonlocal now
        now += 1

    monkeypatch.setattr(side_run, "time", SimpleNamespace(perf_counter=lambda: now))
    hooks = [layer.register_forward_hook(layer_ran) for layer in engine.loaded.model.get_decoder().layers]
    try:
        at = list[tuple[type, float]]()
        for event in engine.run(REQUEST, "full"):
            now += delay
            if isinstance(event, LayerDone | FirstToken | Token):
                at.append((type(event), event.at))
    finally:
        for hook in hooks:
            hook.remove()
    layers, tokens = len(hooks), REQUEST.max_new_tokens - 1
    assert at == [
        *((LayerDone, layer) for layer in range(1, layers + 1)),
        (FirstToken, layers),
        *((Token, layers * (1 + token)) for token in range(1, tokens + 1)),
    ]


def test_seeded_sampling_repeats_and_differs_by_seed(engine: SlimEngine) -> None:
    def answer(seed: int) -> tuple[int, ...]:
        request = RunRequest(DOCUMENT, "Why?", CONFIG, 12, temperature=2.0, top_p=0.95, seed=seed, ignore_eos=True)
        return RunResult.of(engine.run(request)).finished["pruned"].metrics.token_ids

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_stop_ends_at_the_next_layer_and_the_engine_goes_on(engine: SlimEngine) -> None:
    expected = RunResult.of(engine.run(REQUEST)).finished["pruned"].metrics.token_ids
    total = len(list(engine.run(REQUEST)))
    for after in range(1, total, 3):
        stop = threading.Event()
        seen = []
        for event in engine.run(REQUEST, stop=stop):
            seen.append(event)
            if len(seen) == after:
                stop.set()
        assert isinstance(seen[-1], Stopped)
        assert len(seen) == after + 1
        closing = engine.compare(REQUEST)
        for _ in range(after):
            next(closing)
        closing.close()  # type: ignore[attr-defined]
    assert RunResult.of(engine.run(REQUEST)).finished["pruned"].metrics.token_ids == expected


def no_room(*args: Any, **kwargs: Any) -> None:
    raise MemoryError


def no_room_in_torch(*args: Any, **kwargs: Any) -> None:
    torch.empty(1 << 60)


@pytest.mark.parametrize("broken", [no_room, no_room_in_torch])
def test_a_failing_layer_becomes_one_sentence_and_the_next_run_is_served(
    engine: SlimEngine, broken: Callable[..., None]
) -> None:
    layer = engine.loaded.model.get_decoder().layers[3]
    layer.register_forward_pre_hook(handle := broken)
    try:
        events = list(engine.compare(REQUEST))
    finally:
        layer._forward_pre_hooks.clear()
    assert handle is broken
    failed = [e for e in events if isinstance(e, Failed)]
    assert [e.side for e in failed] == ["full", "pruned"]
    assert all("does not fit in memory" in e.message for e in failed)
    assert isinstance(list(engine.compare(REQUEST))[-1], Compared)


def test_requests_that_cannot_run_are_refused_before_any_event(engine: SlimEngine) -> None:
    with pytest.raises(MemoryLimitError, match="reads at most 4,096"):
        engine.compare(RunRequest("lamp " * 5000, "When?", CONFIG))
    with pytest.raises(ConfigError, match="layers 0 to 5"):
        engine.run(RunRequest("lamp", "When?", SlimConfig(steps=(PruneStep(9, 0.5),))))
    for bad in ({"document": " "}, {"question": ""}, {"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}):
        with pytest.raises(SlimError):
            RunRequest(**({"document": "a", "question": "b"} | bad))  # type: ignore[arg-type]


def tensors_alive() -> int:
    return sum(type(o) is torch.Tensor for o in gc.get_objects())


def test_runs_leave_nothing_behind(engine: SlimEngine) -> None:
    for _ in engine.compare(REQUEST):
        pass
    gc.collect()
    before = tensors_alive()
    for _ in range(3):
        for _ in engine.compare(REQUEST):
            pass
    gc.collect()
    assert tensors_alive() <= before


def test_answers_end_at_the_end_token(engine: SlimEngine) -> None:
    free = RunResult.of(engine.run(REQUEST)).finished["pruned"]
    from dataclasses import replace

    loaded = replace(engine.loaded, eos=frozenset({free.metrics.token_ids[2]}))
    request = RunRequest(DOCUMENT, REQUEST.question, CONFIG, max_new_tokens=6)
    ended = RunResult.of(SlimEngine(loaded).run(request)).finished["pruned"]
    first = free.metrics.token_ids.index(free.metrics.token_ids[2])
    assert ended.reason == "eos"
    assert ended.metrics.token_ids == free.metrics.token_ids[: first + 1]
