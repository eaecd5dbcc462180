"""Every method against the same rules. `cases.CASES` holds whatever is available."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.slim import slim
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import prefill_flops
from sliminfer.selectors import available, selector_class
from tests.selectors.cases import CASES, EVIDENCE, expected, outside, run
from tests.tiny import tiny_loaded, tiny_model, token_ids

methods = pytest.mark.parametrize("config", CASES, ids=lambda config: config.method)
FOLLOW = token_ids(4, seed=9)


def test_every_method_is_in_the_matrix() -> None:
    # The ablation adds variants of its own to the registry when it is imported; they are not shipped methods.
    shipped = {name for name in available() if selector_class(name).__module__.startswith("sliminfer.selectors.")}
    assert {config.method for config in CASES} == shipped - {"full"}


@methods
@pytest.mark.parametrize(
    ("family", "attention", "tokens"),
    [("llama", "sdpa", 96), ("llama", "eager", 101), ("qwen3", "sdpa", 103), ("phi3", "sdpa", 97)],
)
def test_prefill_and_decode_equal_the_stock_model_that_sees_the_same(
    config: SlimConfig, family: str, attention: str, tokens: int
) -> None:
    model, ids = tiny_model(family, attention), token_ids(tokens, seed=tokens)
    found = run(model, ids, FOLLOW, config)
    assert len(found.kept[0][-1]) < tokens
    assert_same(found.logits, expected(model, ids, FOLLOW, config, found))


@methods
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_any_grouping_of_heads(config: SlimConfig, kv_heads: int) -> None:
    model, ids = tiny_model(num_key_value_heads=kv_heads), token_ids(90)
    found = run(model, ids, FOLLOW, config)
    assert len(found.kept[0][-1]) < 90
    assert_same(found.logits, expected(model, ids, FOLLOW, config, found))


@methods
@pytest.mark.parametrize("tokens", [65, 71, 72])
def test_survivors_are_ordered_nested_within_budget_and_hold_what_is_forced(config: SlimConfig, tokens: int) -> None:
    model, method = tiny_model(), selector_class(config.method)
    question, blocks = (40, 45), BlockMap.of(tokens, config, (40, 45))
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, config, question, EVIDENCE, outside=outside(tokens)) as loop:
        model(token_ids(tokens), past_key_values=cache, logits_to_keep=1)
    kept = [positions.tolist() for positions in loop.kept_positions(cache)]
    forced = {i for block in blocks.forced for i in range(*blocks.span(block))}
    above = set(range(tokens))
    for positions in kept:
        assert positions == sorted(positions)
        assert forced | set(range(*question)) <= set(positions) <= above
        above = set(positions)
    planned = method.plan(config, blocks, len(kept)).layer_runs[-len(kept) :]
    exact = not method.own_budget
    assert all(len(p) == n if exact else len(p) <= n for p, n in zip(kept, planned, strict=True))


@methods
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_keeping_everything_is_the_stock_model_bit_for_bit(config: SlimConfig, attention: str) -> None:
    model, ids = tiny_model(attention=attention), token_ids(77)
    options = {"mass": 1.0} if config.method == "adaptive" else {}
    whole = config.with_changes(steps=tuple(PruneStep(step.layer, 1.0) for step in config.steps), options=options)
    stock = generate(model, ids)
    with slim(model, whole, evidence=EVIDENCE, outside=outside(77)):
        assert generate(model, ids) == stock


@methods
@pytest.mark.parametrize("tokens", [1, 2, 8, 9, 18])
def test_short_prompts_are_the_stock_model_bit_for_bit(config: SlimConfig, tokens: int) -> None:
    model, ids = tiny_model(), token_ids(tokens)
    stock = generate(model, ids)
    with slim(model, config, evidence=((0, 1),), outside=outside(tokens)):
        assert generate(model, ids) == stock


@methods
def test_stopping_at_any_layer_leaves_nothing_behind(config: SlimConfig) -> None:
    model, ids = tiny_model(), token_ids(80)
    found = run(model, ids, FOLLOW, config)
    loop = LayerLoop(model, config, evidence=EVIDENCE, outside=outside(80))
    with torch.inference_mode():
        hidden = loop.decoder.embed_tokens(ids)
        total = len(list(loop.run(hidden, DynamicCache())))
        for stop in range(1, total):
            running = loop.run(hidden, DynamicCache())
            for _ in range(stop):
                next(running)
            running.close()
    assert torch.equal(run(model, ids, FOLLOW, config).logits, found.logits)


@methods
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_generate_under_slim_continues_the_pruned_prompt(config: SlimConfig, attention: str) -> None:
    model, ids = tiny_model(attention=attention), token_ids(96)
    with slim(model, config, evidence=EVIDENCE, outside=outside(96)):
        tokens, logits = generate(model, ids)
    follow = torch.tensor([tokens[96:-1]])
    found = run(model, ids, follow, config)
    truth = expected(model, ids, follow, config, found)
    ours = torch.stack([torch.frombuffer(bytearray(step), dtype=torch.float32) for step in logits])
    assert_same(ours, truth)


@methods
@pytest.mark.parametrize("active", [None, 0.6])
def test_the_engine_says_what_generate_says_and_its_figures_add_up(config: SlimConfig, active: float | None) -> None:
    loaded, small = tiny_loaded(), tiny_loaded("qwen3", layers=1, seed=4)
    document, question = "The lamp of the north tower was lit at nine. " * 12, "When was the lamp lit?"
    wide = config.with_changes(active=active)
    request = RunRequest(document, question, wide, max_new_tokens=5, ignore_eos=True, evidence=((60, 80),))
    engine = SlimEngine(loaded, draft=small)
    result = RunResult.of(engine.run(request))
    assert result.failed == {}
    metrics = result.finished["pruned"].metrics
    prompt = build_prompt(loaded.tokenizer, document, question)
    ready = engine.prepare(request)
    ids = torch.tensor([prompt.ids])
    evidence = (prompt.token_range(60, 80),)
    if active is None:
        with torch.inference_mode():
            scores = exhaust(engine.outside.scores(ready, config))
        with torch.inference_mode(), slim(loaded.model, config, prompt.question, evidence, outside=scores):
            tokens, _ = generate(loaded.model, ids, 5)
        assert list(metrics.token_ids) == tokens[len(prompt) :]
    method = selector_class(config.method)
    plan = method.plan(config, BlockMap.of(len(prompt), config, prompt.question), loaded.shape.layers)
    planned = prefill_flops(loaded.shape, plan.layer_runs, plan.scored) + engine.outside.flops(ready, config)
    assert metrics.note == ""
    if method.own_budget:
        assert metrics.prefill_flops <= planned
    else:
        assert metrics.prefill_flops == planned
        assert metrics.tokens_per_layer == plan.layer_runs[-loaded.shape.layers :]
    assert [event.layer for event in result.pruned.pruned] == [kept.layer for kept in metrics.kept]
    assert all(len(event.kept) < event.alive_before for event in result.pruned.pruned)


def assert_same(ours: torch.Tensor, truth: torch.Tensor) -> None:
    # Rounding alone: five calls of fp32 whose sums run in another order, at logits of size 10.
    torch.testing.assert_close(ours, truth, atol=3e-5, rtol=1e-5)


def generate(model: Any, ids: torch.Tensor, count: int = 6) -> tuple[list[int], list[bytes]]:
    """Greedy tokens, prompt included, and the bytes of every step's logits."""
    with torch.inference_mode():
        out = model.generate(
            ids,
            max_new_tokens=count,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            eos_token_id=None,
        )
    return out.sequences[0].tolist(), [step.numpy().tobytes() for step in out.logits]
