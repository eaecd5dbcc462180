"""Probes of information diffusion against the dense oracle, and what each curve must be at its ends."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.diffusion.plan import DiffusionPlan, block_map, random_blocks, removed_blocks
from sliminfer.diffusion.probe import Probes, local_attention, probe
from sliminfer.diffusion.result import DiffusionResult
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import FirstToken, Token
from sliminfer.engine.request import PromptRequest, Sampling
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError, MemoryLimitError
from sliminfer.model.loading import LoadedModel
from sliminfer.model.prompts import Prompt, build_prompt
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from tests.dense_oracle import dense_logits
from tests.tiny import tiny_loaded

LAYERS = 6
PLAN = DiffusionPlan((0, 2, 3, LAYERS), draws=3, block_size=8, local=16, query_window=8, answer_tokens=4, bins=24)
ANSWER = (40, 77, 123, 9)
TEXT = " ".join(f"on day {day} the keeper of tower {day * 7 % 11} wrote down {day * day}" for day in range(14))
MODELS = [
    ("llama", "sdpa", {}),
    ("llama", "eager", {}),
    ("qwen3", "sdpa", {}),
    ("mistral", "sdpa", {"sliding_window": 96}),
]
ARRAYS = ("attention_share", "removed_logprob", "random_median", "random_low", "random_high", "similarity")


def prompt_of(loaded: LoadedModel) -> Prompt:
    return build_prompt(loaded.tokenizer, TEXT, "who wrote it down?")


def span_of(prompt: Prompt, phrase: str = "the keeper of tower 2 wrote down 25") -> tuple[int, int]:
    start = TEXT.index(phrase)
    return prompt.token_range(start, start + len(phrase))


def finished(
    loaded: LoadedModel, plan: DiffusionPlan = PLAN, answer: tuple[int, ...] | None = ANSWER
) -> DiffusionResult:
    prompt = prompt_of(loaded)
    *_, last = probe(SlimEngine(loaded), prompt, span_of(prompt), plan, answer)
    return last


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return tiny_loaded(layers=LAYERS)


@pytest.fixture(scope="module")
def done(llama: LoadedModel) -> DiffusionResult:
    return finished(llama)


def oracle(loaded: LoadedModel, prompt: Prompt, gone: tuple[tuple[int, int], ...], layer: int) -> float:
    """Log-probability of ANSWER by the stock model with the positions in `gone` masked as keys from `layer` on."""
    ids = torch.tensor([[*prompt.ids, *ANSWER[:-1]]])
    everything = torch.arange(len(prompt))
    stays = torch.tensor([all(not start <= i < end for start, end in gone) for i in range(len(prompt))])
    kept = [everything if index < layer else everything[stays] for index in range(LAYERS)]
    chances = dense_logits(loaded.model, ids, kept, len(prompt))[-len(ANSWER) :].log_softmax(-1)
    return float(chances[range(len(ANSWER)), ANSWER].sum())


@pytest.mark.parametrize(("family", "attention", "changes"), MODELS)
def test_every_removal_equals_a_dense_run_with_those_keys_masked(
    family: str, attention: str, changes: dict[str, Any]
) -> None:
    loaded = tiny_loaded(family, layers=LAYERS, attention=attention, **changes)
    plan = replace(PLAN, draws=1)
    prompt, result = prompt_of(loaded), finished(loaded, plan)
    (others,) = random_blocks(block_map(prompt, plan), removed_blocks(prompt, result.span, plan), plan)
    ranges = tuple(block_map(prompt, plan).span(block) for block in others)
    for index, layer in enumerate(plan.layers):
        assert result.removed_logprob[index] == pytest.approx(oracle(loaded, prompt, result.removed, layer), abs=2e-4)
        assert result.random_median[index] == pytest.approx(oracle(loaded, prompt, ranges, layer), abs=2e-4)
    assert result.full_logprob == pytest.approx(oracle(loaded, prompt, (), 0), abs=2e-4)


def test_from_the_last_layer_on_nothing_is_missing(done: DiffusionResult) -> None:
    ends = [done.removed_logprob[-1], done.random_low[-1], done.random_median[-1], done.random_high[-1]]
    assert ends == [done.full_logprob] * 4
    assert done.removed_logprob[0] != done.full_logprob


def test_the_floor_is_the_stock_model_on_the_shorter_prompt(llama: LoadedModel, done: DiffusionResult) -> None:
    prompt = prompt_of(llama)
    short = [token for i, token in enumerate(prompt.ids) if all(not a <= i < b for a, b in done.removed)]
    with torch.inference_mode():
        logits = llama.model(torch.tensor([[*short, *ANSWER[:-1]]])).logits[0, -len(ANSWER) :]
    chances = logits.log_softmax(-1)[range(len(ANSWER)), ANSWER]
    assert done.input_removed_logprob == pytest.approx(float(chances.sum()), abs=2e-4)


@pytest.mark.parametrize("layer", [0, 3, LAYERS])
def test_removing_nothing_changes_nothing(llama: LoadedModel, done: DiffusionResult, layer: int) -> None:
    with slim(llama.model, SlimConfig(method="full")) as loop, torch.inference_mode():
        probes = Probes(loop, llama, prompt_of(llama), ANSWER)
        rows = probes.rows()
        for index in range(layer):
            rows = loop.through(index, rows)
        assert exhaust(probes.finish(layer, rows.at(probes.rest([])))) == done.full_logprob


def exhaust(run: Generator[None, None, float]) -> float:
    while True:
        try:
            next(run)
        except StopIteration as end:
            return float(end.value)


@pytest.mark.parametrize(("family", "changes"), [("llama", {}), ("phi3", {}), ("mistral", {"sliding_window": 50})])
@pytest.mark.parametrize("window", [1, 8])
def test_local_attention_is_the_models_own_and_sums_to_one(family: str, changes: dict[str, Any], window: int) -> None:
    loaded = tiny_loaded(family, layers=LAYERS, attention="eager", **changes)
    ids = torch.tensor([prompt_of(loaded).ids])
    with torch.inference_mode():
        stock = loaded.model(ids, output_attentions=True).attentions
        with slim(loaded.model, SlimConfig(method="full")) as loop:
            rows = loop.enter(ids)
            for layer in range(LAYERS):
                received = local_attention(loop, layer, rows, window)
                torch.testing.assert_close(received, stock[layer][0, :, -window:].mean((0, 1)), atol=1e-5, rtol=1e-4)
                assert (received >= 0).all()
                assert float(received.sum()) == pytest.approx(1, abs=1e-5)
                rows = loop.through(layer, rows)


def test_the_shares_of_all_spans_sum_to_one(llama: LoadedModel) -> None:
    prompt, small = prompt_of(llama), replace(PLAN, layers=(0,), draws=1)
    third, total = len(prompt) // 3, np.zeros(LAYERS)
    for span in ((0, third), (third, 2 * third), (2 * third, len(prompt))):
        *_, last = probe(SlimEngine(llama), prompt, span, small, ANSWER)
        assert (last.attention_share >= 0).all()
        assert (last.attention_share <= 1).all()
        total += last.attention_share
    assert total == pytest.approx(np.ones(LAYERS), abs=1e-5)


def test_the_map_begins_at_the_span_and_never_reaches_back(llama: LoadedModel) -> None:
    prompt = prompt_of(llama)
    result = finished(llama, replace(PLAN, bins=len(prompt)))  # one position a bin
    ((start, end),) = result.removed
    assert result.similarity.shape == (LAYERS, len(prompt))
    inside = np.zeros(len(prompt), np.bool_)
    inside[start:end] = True
    assert (result.similarity[:, inside] == 1).all()
    assert (result.similarity[0, ~inside] == 0).all()
    # One matrix product of fewer rows may round its last bit otherwise.
    assert (result.similarity[:, :start] < 1e-5).all()
    later = result.similarity[1:, end:]
    assert (later > 0).all()
    assert (later <= 1).all()


def test_bins_average_the_positions_they_hold(llama: LoadedModel, done: DiffusionResult) -> None:
    tokens = done.tokens
    fine = finished(llama, replace(PLAN, bins=tokens)).similarity
    edges = [i * tokens // PLAN.bins for i in range(PLAN.bins + 1)]
    means = [fine[:, a:b].mean(axis=1) for a, b in pairwise(edges)]
    assert done.similarity == pytest.approx(np.stack(means, 1), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(200, 2000), start=st.integers(0, 60), length=st.integers(1, 4), seed=st.integers(0, 9))
def test_random_removals_spare_the_span_and_what_is_forced(tokens: int, start: int, length: int, seed: int) -> None:
    plan = replace(PLAN, seed=seed, draws=4)
    layout = BlockMap.of(tokens, SlimConfig(block_size=8, sink=1, local=16), (tokens - 20, tokens))
    free = [block for block in range(len(layout)) if block not in layout.forced]
    own = tuple(free[start % len(free) :][:length])
    drawn = random_blocks(layout, own, plan)
    assert drawn == random_blocks(layout, own, plan)
    assert len(drawn) == 4
    for blocks in drawn:
        assert len(set(blocks)) == len(blocks) == len(own)
        assert not set(blocks) & (set(own) | set(layout.forced))
        assert layout.tokens_in(blocks) == layout.tokens_in(own)


def test_the_seed_alone_decides_the_control(llama: LoadedModel, done: DiffusionResult) -> None:
    again, other = finished(llama), finished(llama, replace(PLAN, seed=1))
    for name in ("random_low", "random_median", "random_high", "removed_logprob", "attention_share", "similarity"):
        np.testing.assert_array_equal(getattr(done, name), getattr(again, name))
    np.testing.assert_array_equal(done.removed_logprob, other.removed_logprob)
    assert (done.random_median != other.random_median).any()
    assert (done.random_low <= done.random_median).all()
    assert (done.random_median <= done.random_high).all()


@pytest.mark.parametrize("answer", [ANSWER, None])
def test_what_is_known_stays_known_and_all_is_known_in_the_end(
    llama: LoadedModel, answer: tuple[int, ...] | None
) -> None:
    prompt = prompt_of(llama)
    results = list(probe(SlimEngine(llama), prompt, span_of(prompt), PLAN, answer))
    for before, after in pairwise(results):
        assert before.done <= after.done <= after.total
        for name in ARRAYS:
            known = ~np.isnan(getattr(before, name))
            np.testing.assert_array_equal(getattr(before, name)[known], getattr(after, name)[known])
    last = results[-1]
    assert last.probes == 4 * (1 + 3) + 1
    assert last.done == last.total == PLAN.layer_runs(LAYERS, answer is not None)
    assert np.isnan(results[0].removed_logprob).all()
    for name in ARRAYS:
        assert np.isfinite(getattr(last, name)).all()
    assert np.isfinite([last.full_logprob, last.input_removed_logprob]).all()


def test_a_result_becomes_strict_json(llama: LoadedModel, done: DiffusionResult) -> None:
    prompt = prompt_of(llama)
    first = next(iter(probe(SlimEngine(llama), prompt, span_of(prompt), PLAN, ANSWER)))
    for result in (first, done):
        data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert np.array(data["similarity"], np.float32) == pytest.approx(result.similarity, nan_ok=True)
        assert np.array(data["removed_logprob"], float) == pytest.approx(result.removed_logprob, nan_ok=True)
        assert tuple(data["span"]) == result.span


def test_the_answer_is_the_full_models_own(llama: LoadedModel) -> None:
    prompt = prompt_of(llama)
    events = SlimEngine(llama).run(PromptRequest(prompt, Sampling(PLAN.answer_tokens)), "full")
    own = tuple(event.token for event in events if isinstance(event, FirstToken | Token))
    assert finished(llama, answer=None).answer == own


@pytest.mark.parametrize("after", [1, LAYERS + 3, 4 * LAYERS, 6 * LAYERS])
def test_stopping_leaves_the_engine_usable(llama: LoadedModel, done: DiffusionResult, after: int) -> None:
    engine, prompt = SlimEngine(llama), prompt_of(llama)
    run = iter(probe(engine, prompt, span_of(prompt), PLAN, None))
    for _ in range(after):
        next(run)
    run.close()  # type: ignore[attr-defined]
    assert "forward" not in llama.model.get_decoder().__dict__
    *_, again = probe(engine, prompt, span_of(prompt), PLAN, ANSWER)
    np.testing.assert_array_equal(again.removed_logprob, done.removed_logprob)


@settings(max_examples=80, deadline=None)
@given(depth=st.integers(1, 96), tokens=st.integers(64, 200_000), budget=st.integers(1, 10**7))
def test_a_plan_stays_within_its_budget_or_is_the_least(depth: int, tokens: int, budget: int) -> None:
    plan = DiffusionPlan.within(depth, tokens, budget)
    plan.check_model(depth)
    assert plan.layers[0] == 0
    assert plan.layers[-1] == depth
    least = len(plan.layers) == min(4, depth + 1) and plan.draws == 2
    assert least or plan.layer_runs(depth) * tokens <= budget


@pytest.mark.parametrize(
    ("span", "answer", "words"),
    [
        ((30, 30), ANSWER, "not a span"),
        ((-1, 5), ANSWER, "not a span"),
        ((10, 10**6), ANSWER, "not a span"),
        ((0, 4), ANSWER, "always kept"),
        ((8, 250), ANSWER, "more than half"),
        ((40, 60), (), "answer to score is empty"),
    ],
)
def test_refusals_come_before_any_work(
    llama: LoadedModel, span: tuple[int, int], answer: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        probe(SlimEngine(llama), prompt_of(llama), span, PLAN, answer)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": (1, 2)}, "rise from 0"),
        ({"layers": (0, 2, 2)}, "rise from 0"),
        ({"layers": ()}, "rise from 0"),
        ({"draws": 0}, "draws"),
        ({"seed": -1}, "seed"),
        ({"block_size": 0}, "block_size"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(PLAN, **changes)


def test_what_does_not_fit_the_model_is_refused(llama: LoadedModel) -> None:
    prompt = prompt_of(llama)
    with pytest.raises(ConfigError, match="does not exist"):
        probe(SlimEngine(llama), prompt, span_of(prompt), replace(PLAN, layers=(0, LAYERS + 1)), ANSWER)
    long = build_prompt(llama.tokenizer, TEXT * 20, "who?")
    with pytest.raises(MemoryLimitError, match="shorten the document"):
        probe(SlimEngine(llama), long, (100, 120), PLAN, ANSWER)
