"""The cache under the real layer loop and engine: dense oracle, engines, events, stops."""

from __future__ import annotations

import json
import pickle
import threading
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sliminfer.cache import Link, SlimCache, StagePlaced, VirtualClock
from sliminfer.cache.records import Refresh
from sliminfer.cache.timeline import measured, replay
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import CacheNews, Event, Finished
from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.cache.toy import engines
from tests.tiny import tiny_loaded, tiny_model, token_ids

PROMPT = 203
PLAIN = SlimConfig(
    steps=(PruneStep(2, 0.7), PruneStep(4, 0.4)), block_size=8, local=10, query_window=4, decode_block_size=8
)
CONFIG = PLAIN.with_changes(active=0.5, refresh=1, gamma=1.0, decode_unit_size=4)


def drive(loop: LayerLoop, cache: SlimCache, pieces: list[Tensor], seen: list[dict[int, Tensor]]) -> Tensor:
    """Logits of all tokens after the prompt, fed piece by piece; `seen` gets each piece's resident positions."""
    logits = []
    with torch.inference_mode():
        for number, piece in enumerate(pieces):
            run = loop.run(loop.decoder.embed_tokens(piece), cache)
            while True:
                try:
                    next(run)
                except StopIteration as done:
                    states = done.value
                    break
            if number:
                logits.append(states[0])
                found = {i: cache.key_positions(i) for i in range(len(loop.layers))}
                seen.append({i: kept for i, kept in found.items() if kept is not None})
    return torch.cat(logits)


def dense_states(model: Any, ids: Tensor, kept: list[Tensor], rows: list[dict[int, Tensor]]) -> Tensor:
    """Normed states of the stock decoder over `ids`, each later token seeing just its resident prompt keys."""
    decoder, count = model.get_decoder(), ids.shape[1]
    position = torch.arange(count)
    window = model.config.sliding_window if getattr(model.config, "sliding_window", None) else count

    def hook_for(index: int) -> Any:
        allowed = torch.zeros(count, count, dtype=torch.bool)
        allowed[:, kept[index]] = True
        for row, resident in enumerate(rows):
            if index in resident:
                allowed[PROMPT + row] = False
                allowed[PROMPT + row, resident[index]] = True
        allowed[:, PROMPT:] = True
        allowed &= (position[None] <= position[:, None]) & (position[:, None] - position[None] < window)
        allowed |= torch.eye(count, dtype=torch.bool)
        mask: Tensor = allowed[None, None]
        if model.config._attn_implementation == "eager":
            mask = torch.where(mask, 0.0, torch.finfo(model.dtype).min)
        return lambda module, args, kwargs: (args, kwargs | {"attention_mask": mask})

    handles = [layer.register_forward_pre_hook(hook_for(i), with_kwargs=True) for i, layer in enumerate(decoder.layers)]
    try:
        with torch.inference_mode():
            states: Tensor = decoder(ids, use_cache=False).last_hidden_state[0]
    finally:
        for handle in handles:
            handle.remove()
    return states


@pytest.mark.parametrize(
    ("family", "attention", "changes", "sink", "preserve"),
    [
        ("llama", "sdpa", {}, 1, False),
        ("llama", "eager", {}, 0, True),
        ("qwen3", "eager", {}, 1, False),
        ("phi3", "sdpa", {}, 0, True),
        ("mistral", "sdpa", {"sliding_window": 60}, 0, True),
        ("mistral", "eager", {"sliding_window": 60}, 1, False),
    ],
)
def test_decode_over_slots_is_a_dense_model_with_all_else_masked(
    family: str, attention: str, changes: dict[str, Any], sink: int, preserve: bool
) -> None:
    model = tiny_model(family, attention, **changes)
    config = CONFIG.with_changes(sink=sink, active_preserve=preserve)
    cache = SlimCache(config, 6, BlockMap.of(PROMPT, config), reserve=4)
    loop = LayerLoop(model, config)
    pieces = [token_ids(PROMPT), *(token_ids(size, seed) for seed, size in enumerate([1, 1, 1, 3, 1, 2, 1, 1], 1))]
    seen: list[dict[int, Tensor]] = []
    states = drive(loop, cache, pieces, seen)
    rows = [resident for piece, resident in zip(pieces[1:], seen, strict=True) for _ in range(piece.shape[1])]
    assert set(rows[0]) == set(range(0 if preserve else 2, 6))
    assert any(not torch.equal(a[i], b[i]) for a, b in pairwise(rows) for i in a), "nothing swapped"
    expected = dense_states(model, torch.cat(pieces, 1), loop.kept_positions(cache), rows)[PROMPT:]
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)


def greedy(loaded: Any, config: SlimConfig, cache: SlimCache, new: int = 16) -> list[int]:
    """Tokens of transformers' own generate inside slim()."""
    with torch.inference_mode(), slim(loaded.model, config):
        out = loaded.model.generate(
            token_ids(PROMPT), past_key_values=cache, max_new_tokens=new, do_sample=False, eos_token_id=None
        )
    return out[0, PROMPT:].tolist()


@pytest.mark.parametrize(("gamma", "preserve"), [(0.0, False), (0.7, False), (1.0, False), (1.0, True)])
@pytest.mark.parametrize("refresh", [1, 3])
def test_generate_says_the_same_with_every_engine_and_prefetch_on_or_off(
    gamma: float, preserve: bool, refresh: int
) -> None:
    loaded = tiny_loaded()
    config = CONFIG.with_changes(gamma=gamma, refresh=refresh, active_preserve=preserve)
    answers = {}
    for name, factory in engines(VirtualClock(), Link(bandwidth=1e6)).items():
        cache = SlimCache(config, 6, BlockMap.of(PROMPT, config), engine_for=factory)
        answers[name] = greedy(loaded, config, cache)
        looks = [event for event in cache.drain_events() if isinstance(event, Refresh)]
        assert any(look.loads for look in looks) is (gamma > 0)
        cache.close()
    assert len({tuple(answer) for answer in answers.values()}) == 1, answers


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_survivors_active_says_the_same_as_none_managed(attention: str, dtype: torch.dtype) -> None:
    loaded = tiny_loaded(attention=attention, dtype=dtype)
    blocks = BlockMap.of(PROMPT, CONFIG)
    everything = CONFIG.with_changes(active=1.0)
    assert greedy(loaded, everything, SlimCache(everything, 6, blocks)) == greedy(
        loaded, PLAIN, SlimCache(PLAIN, 6, blocks)
    )


DOCUMENT = "The lamp of the north tower was lit at nine. " * 20
REQUEST = RunRequest(DOCUMENT, "When was the lamp lit?", CONFIG, max_new_tokens=12, ignore_eos=True)


@pytest.fixture(scope="module")
def engine() -> SlimEngine:
    return SlimEngine(tiny_loaded())


def finished(events: list[Event]) -> Finished:
    return next(event for event in events if isinstance(event, Finished))


def test_news_come_in_the_engines_stream_and_agree_with_its_metrics(engine: SlimEngine) -> None:
    events = list(engine.run(REQUEST))
    metrics = finished(events).metrics
    changes = [event.change for event in events if isinstance(event, CacheNews)]
    assert pickle.loads(pickle.dumps(changes)) == changes
    placed = [change for change in changes if isinstance(change, StagePlaced)]
    assert [stage.tokens for stage in placed] == [metrics.tokens_per_layer[i] for i in (0, 2, 4)]
    timeline = measured(changes, metrics.token_at)
    assert timeline.device_bytes[0] == metrics.prompt_kv.total_device
    assert timeline.device_bytes[-1] == metrics.kv.total_device
    assert timeline.host_bytes[-1] == metrics.kv.total_host > 0
    assert timeline.swaps > 0
    assert timeline.step_s.sum() == pytest.approx(metrics.token_at[-1] - metrics.token_at[0])
    fast = replay(changes, 11, 1e-3, Link(bandwidth=1e12))
    assert fast.hidden > timeline.hidden


def test_the_runs_json_holds_the_cache(engine: SlimEngine) -> None:
    result = RunResult.of(engine.compare(REQUEST))
    data = result.to_dict("tiny", CONFIG)
    held = data["pruned"]["cache"]
    assert held["device_bytes"] == data["pruned"]["prompt_kv_bytes"] < data["full"]["prompt_kv_bytes"]
    assert held["loaded_bytes"] == sum(e["nbytes"] for e in held["events"] if e["type"] == "Refresh") > 0
    assert json.loads(json.dumps(held))["swaps"] == held["swaps"] > 0
    assert "cache" not in data["full"]
    plain = RunRequest(DOCUMENT, REQUEST.question, PLAIN, max_new_tokens=2, ignore_eos=True)
    assert "cache" not in RunResult.of(engine.compare(plain)).to_dict("tiny", PLAIN)["pruned"]


def test_fewer_active_blocks_take_less_of_the_device(engine: SlimEngine) -> None:
    held = {}
    for active in (None, 0.6, 0.3):
        request = RunRequest(DOCUMENT, REQUEST.question, CONFIG.with_changes(active=active), 4, ignore_eos=True)
        held[active] = finished(list(engine.run(request))).metrics.prompt_kv.total_device
    assert held[0.3] < held[0.6] < held[None]
    everywhere = CONFIG.with_changes(active=0.3, active_preserve=True)
    request = RunRequest(DOCUMENT, REQUEST.question, everywhere, 4, ignore_eos=True)
    assert finished(list(engine.run(request))).metrics.prompt_kv.total_device < 0.6 * held[0.3]


def test_a_budget_without_room_for_the_forced_blocks_is_refused_before_any_event(engine: SlimEngine) -> None:
    prompt = build_prompt(engine.loaded.tokenizer, DOCUMENT, REQUEST.question)
    forced = BlockMap.of(len(prompt), CONFIG, prompt.question).forced
    config = CONFIG.with_changes(active=8 * len(forced) - 8)
    with pytest.raises(ConfigError, match=f"raise active to {8 * len(forced)} or more"):
        engine.run(RunRequest(DOCUMENT, REQUEST.question, config))


def test_stops_and_closed_streams_give_every_slab_back(engine: SlimEngine) -> None:
    expected = finished(list(engine.run(REQUEST))).metrics.token_ids
    total = len(list(engine.run(REQUEST)))
    for after in range(1, total, 12):
        stop = threading.Event()
        for number, _ in enumerate(engine.run(REQUEST, stop=stop), 1):
            if number == after:
                stop.set()
        closing = engine.run(REQUEST)
        for _ in range(after):
            next(closing)
        closing.close()  # type: ignore[attr-defined]
        assert engine._pool.free_bytes == engine._pool.held_bytes
    assert RunResult.of(engine.run(REQUEST)).finished["pruned"].metrics.token_ids == expected
