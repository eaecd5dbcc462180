"""Scores from outside the model: the draft against the stock model, costs counted in every figure, and refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerFast
from transformers.cache_utils import DynamicCache

from sliminfer.engine.draft import Draft, carried
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import ScoredOutside
from sliminfer.engine.loop import exhaust
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.retrieval import passage_scores
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError, MemoryLimitError
from sliminfer.model.loading import LoadedModel, wrap_model
from sliminfer.model.prompts import Prompt, build_prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import published
from sliminfer.selectors.sources import Drafting, Embedding
from tests.tiny import VOCAB, tiny_loaded, tiny_model, tiny_tokenizer, token_ids

TEXT = "The keeper wrote it down. The lamp of the north tower was lit at nine. " * 20
QUESTION = "When was the lamp lit?"


def by_letters() -> LoadedModel:
    """A tiny draft whose tokens are single characters."""
    letters = {letter: at for at, letter in enumerate([*map(chr, range(32, 127)), "\n", "<unk>"])}
    backend = Tokenizer(models.BPE(vocab=letters, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<unk>")
    return wrap_model("letters", tiny_model(layers=1, seed=5), tokenizer, torch.device("cpu"), "sdpa")


@pytest.mark.parametrize("how", [Drafting(0, 1), Drafting(0, 5, "max", 0.5), Drafting(3, 3), Drafting(2, 1, "max")])
@pytest.mark.parametrize("family", ["qwen3", "olmo2"])
def test_the_draft_scores_by_the_stock_models_attention(family: str, how: Drafting) -> None:
    loaded = tiny_loaded(family, attention="eager", layers=4)
    prompt, window = Prompt.of_ids(token_ids(60)[0].tolist(), 5), 5
    with torch.inference_mode():
        found = exhaust(Draft(loaded, loaded.tokenizer).scores(prompt, window, how))
        ids = torch.tensor([prompt.ids])
        for _ in range(how.look_ahead):
            ids = torch.cat([ids, loaded.model(ids).logits[:, -1:].argmax(-1)], 1)
        layers = loaded.model(ids, output_attentions=True).attentions[how.scoring_layers(4)[0] :]
    rows: list[Any] = []
    for at in range(60 - window, 60 + how.look_ahead):
        seen = 60 if at < 60 else at + 1
        attention = torch.cat([layer[0, :, at, :seen] for layer in layers])
        pad = how.pool // 2
        rows.append(F.avg_pool1d(attention, how.pool, 1, pad, count_include_pad=False)[:, :60].amax(0))
    every = torch.stack(rows)
    wanted = every.amax(0) if how.over_queries == "max" else every.mean(0)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


def test_a_draft_with_windows_sees_no_further() -> None:
    loaded = tiny_loaded("mistral", attention="eager", layers=2, sliding_window=16)
    loop = Draft(loaded, loaded.tokenizer).loop
    stack, ids, following = loop.stack, token_ids(60), token_ids(1, seed=2)
    assert stack.windows == [16, 16]
    with torch.inference_mode():
        cache, states = DynamicCache(), loop.enter(ids)
        for layer in range(2):
            states = stack.alone(layer, states, cache)
        embedded = loop.decoder.embed_tokens(following)
        at = torch.tensor([60])
        states = stack.enter(embedded, at, at)
        for layer in range(2):
            states = stack.alone(layer, states, cache)
        stock = loaded.model(torch.cat([ids, following], 1)).logits[0, -1]
        torch.testing.assert_close(loaded.model.lm_head(stack.normed(states.hidden))[0, 0], stock, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("look_ahead", [0, 3])
def test_the_drafts_flops_are_what_torch_counts(look_ahead: int) -> None:
    loaded = tiny_loaded(attention="eager", layers=3)
    prompt, how = Prompt.of_ids(token_ids(200)[0].tolist(), 4), Drafting(look_ahead, 1)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        exhaust(Draft(loaded, loaded.tokenizer).scores(prompt, 4, how))
    head = 0.0 if look_ahead else 2.0 * loaded.shape.hidden * VOCAB  # counted, as of any prefill, and not needed
    square = 2 * 4.0 * loaded.shape.query_width * (200 * 200 - 200 * 201 / 2)  # eager attention computes all of it
    assert counter.get_total_flops() == pytest.approx(how.flops(loaded.shape, 200, 4) + square - head, rel=2e-3)


def test_scores_are_carried_over_by_characters() -> None:
    scores = torch.tensor([0.1, 0.5, 0.2])
    spans = [(0, 3), (3, 4), (4, 9)]
    onto = [(0, 1), (0, 4), (4, 4), (4, 6), (6, 9), (9, 12)]
    assert carried(scores, spans, onto).tolist() == pytest.approx([0.1, 0.5, 0.0, 0.2, 0.2, 0.0])


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.integers(1, 5))
def test_carried_over_and_back_loses_nothing(values: list[float], cut: int) -> None:
    letters = [(at, at + 1) for at in range(len(values))]
    words = [(at, min(at + cut, len(values))) for at in range(0, len(values), cut)]
    scores = torch.tensor(values)
    there = carried(scores, letters, words)
    assert there.tolist() == [max(scores[start:end].tolist()) for start, end in words]
    assert (carried(there, words, letters) >= scores).all()


def test_a_draft_of_another_tokenizer_scores_the_same_text() -> None:
    draft = Draft(by_letters(), tiny_tokenizer())
    prompt = build_prompt(tiny_tokenizer(), TEXT, QUESTION)
    window = len(prompt) - prompt.question[0]
    read = draft.reading(prompt, window)
    assert len(read.ids) == len(prompt.text)
    assert prompt.text[-read.window :].startswith(prompt.text[prompt.spans[prompt.question[0]][0] :][:8])
    with torch.inference_mode():
        scores = exhaust(draft.scores(prompt, window, Drafting(1, 3)))
    assert scores.shape == (len(prompt),)
    assert scores.isfinite().all()
    assert (scores > 0).sum() > len(prompt) // 2
    with pytest.raises(ConfigError, match="bare ids"):
        draft.reading(Prompt.of_ids([3] * 20, 2), 2)
    draft.loaded.model.config.max_position_embeddings = 10
    loaded = wrap_model("short", draft.loaded.model, draft.loaded.tokenizer, torch.device("cpu"), "sdpa")
    short = Draft(loaded, tiny_tokenizer())
    with pytest.raises(MemoryLimitError, match="reads at most 10"):
        short.reading(prompt, window)


@pytest.mark.parametrize("passage", [7, 64])
def test_an_embedding_model_scores_passages_by_their_mean_states(passage: int) -> None:
    loaded = tiny_loaded("qwen3", layers=2)
    prompt = Prompt.of_ids(token_ids(50)[0].tolist(), 6)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            found = exhaust(Draft(loaded, loaded.tokenizer).likeness(prompt, 6, passage))
        states = loaded.model.model(torch.tensor([prompt.ids])).last_hidden_state[0]
    asked = states[-6:].mean(0)
    for start in range(0, 50, passage):
        own = states[start : start + passage].mean(0)
        wanted = (1 + float(own @ asked / own.norm() / asked.norm())) / 2
        scores = found[start : start + passage].tolist()
        assert scores == pytest.approx([wanted] * len(scores), abs=1e-5)
    assert counter.get_total_flops() <= Embedding(passage).flops(loaded.shape, 50, 6) * 1.05


def test_bm25_finds_the_passage_with_the_questions_words() -> None:
    document = "Rain fell on the harbour all day. " * 30 + "The zebra ate a turnip. " + "Rain fell on the quay. " * 30
    prompt = build_prompt(tiny_tokenizer(), document, "What did the zebra eat?")
    scores = torch.tensor(passage_scores(prompt, 16))
    best = scores.argmax()
    at = prompt.text.index("zebra")
    assert min(abs(prompt.spans[best][0] - at), abs(prompt.spans[best + 15][1] - at)) < 40
    assert not scores[: prompt.token_range(0, 1)[0]].any()
    assert not torch.tensor(passage_scores(build_prompt(tiny_tokenizer(), document, "Xylophone?"), 16)).any()
    with pytest.raises(ConfigError, match="bare ids"):
        passage_scores(Prompt.of_ids([3, 4], 1), 8)


@pytest.fixture(scope="module")
def engine() -> SlimEngine:
    return SlimEngine(tiny_loaded(layers=8), draft=tiny_loaded(layers=1, seed=3))


@pytest.mark.parametrize("method", ["specprefill", "sliminfer-draft", "embedding"])
def test_what_the_draft_takes_is_in_every_figure(engine: SlimEngine, method: str) -> None:
    config = published(method, 8).with_changes(block_size=8, local=8)
    ready = engine.prepare(RunRequest(TEXT, QUESTION, config, max_new_tokens=2))
    events = list(engine.run(ready))
    metrics = RunResult.of(events).finished["pruned"].metrics
    told = [event for event in events if isinstance(event, ScoredOutside)]
    assert told[-1].done == told[-1].total == len(told)
    assert 0 < told[0].at <= told[-1].at <= metrics.ttft_s  # the clock of TTFT runs on
    assert 0 < metrics.outside_s <= metrics.ttft_s
    assert metrics.outside_flops == engine.outside.flops(ready, config) > 0
    full = RunResult.of(engine.run(ready, "full")).finished["full"].metrics
    assert full.outside_flops == 0
    assert full.prefill_flops / metrics.prefill_flops == pytest.approx(engine.outside.speedup(ready, config))
    assert metrics.peak_bytes >= engine.outside.weights_bytes > 0
    assert metrics.kept[0].layer == 0
    assert metrics.tokens_per_layer[0] < len(ready.prompt)
    side = RunResult.of(events).pruned.to_dict()
    assert side["outside_s"] == metrics.outside_s


@pytest.mark.parametrize("active", [0.5, None])
def test_a_prompt_cut_before_layer_0_decodes_on_over_any_working_set(engine: SlimEngine, active: float | None) -> None:
    config = published("sliminfer-draft", 8).with_changes(
        least_tokens=0, block_size=8, local=8, decode_block_size=8, active=active, active_preserve=True, refresh=1
    )
    request = RunRequest(TEXT, QUESTION, config, max_new_tokens=6, ignore_eos=True)
    found = RunResult.of(engine.run(request))
    assert found.failed == {}
    ready = engine.prepare(request)
    with torch.inference_mode():
        scores = exhaust(engine.outside.scores(ready, config))
        with slim(engine.loaded.model, config, ready.prompt.question, outside=scores):
            out = engine.loaded.model.generate(
                torch.tensor([ready.prompt.ids]), max_new_tokens=6, do_sample=False, eos_token_id=None
            )
    if active is None:
        assert list(found.finished["pruned"].metrics.token_ids) == out[0, len(ready.prompt) :].tolist()


@pytest.mark.parametrize("target", [1.0, 1.5, 2.5])
def test_a_budget_holds_with_the_drafts_flops(engine: SlimEngine, target: float) -> None:
    ready = engine.prepare(RunRequest(TEXT, QUESTION, max_new_tokens=2))
    config = engine.at_budget(ready, published("specprefill", 8).with_changes(block_size=8), target)
    assert engine.outside.speedup(ready, config) == pytest.approx(target, rel=0.03)


def test_a_budget_that_the_draft_alone_exceeds_is_refused(engine: SlimEngine) -> None:
    ready = engine.prepare(RunRequest(TEXT, QUESTION, max_new_tokens=2))
    with pytest.raises(ConfigError, match="the draft alone takes"):
        engine.at_budget(ready, published("specprefill", 8), 100.0)


def test_where_choosing_costs_what_it_saves_the_method_is_left_out_and_says_so() -> None:
    loaded = tiny_loaded()
    engine = SlimEngine(loaded, draft=loaded)
    request = RunRequest(TEXT, QUESTION, published("specprefill", 6), max_new_tokens=4, ignore_eos=True)
    result = RunResult.of(engine.compare(request))
    assert result.pruned.metrics is not None
    assert result.full.metrics is not None
    assert "as much arithmetic as it saves" in result.pruned.metrics.note
    assert result.pruned.to_dict()["note"] == result.pruned.metrics.note
    assert result.pruned.metrics.outside_s == 0
    assert result.pruned.metrics.token_ids == result.full.metrics.token_ids


def test_what_is_missing_is_said() -> None:
    engine = SlimEngine(tiny_loaded())
    with pytest.raises(ConfigError, match="--draft MODEL"):
        engine.prepare(RunRequest(TEXT, QUESTION, published("specprefill", 6)))
    with pytest.raises(ConfigError, match="layer 0 always sees"):
        engine.prepare(RunRequest(TEXT, QUESTION, SlimConfig((PruneStep(0, 0.5),))))
    for scores, words in ((None, "outside=scores"), (torch.rand(7), "Scores of 7 tokens")):
        model = tiny_model()
        with slim(model, published("bm25", 6), outside=scores), pytest.raises(ConfigError, match=words):
            model(token_ids(100), logits_to_keep=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", ["specprefill", "sliminfer-draft", "self-draft", "claa", "asl", "bm25", "embedding"])
def test_on_a_gpu_the_same_tokens_are_kept_and_all_is_counted(method: str) -> None:
    config = published(method, 8).with_changes(block_size=8, local=8, least_tokens=0)
    request = RunRequest(TEXT, QUESTION, config, max_new_tokens=2)
    found = []
    for place in ("cuda", "cpu"):
        models = [tiny_model(layers=layers, seed=layers).to(place) for layers in (8, 1)]
        loaded, small = (wrap_model("tiny", m, tiny_tokenizer(), torch.device(place), "sdpa") for m in models)
        metrics = RunResult.of(SlimEngine(loaded, draft=small).run(request)).finished["pruned"].metrics
        found.append((metrics.tokens_per_layer, metrics.prefill_flops))
        assert (metrics.outside_s > 0) == (metrics.outside_flops > 0 or method == "bm25")
    if method != "asl":  # whose cut may fall on another layer by rounding
        assert found[0] == found[1]


def test_the_search_for_words_leaves_jax_alone(tmp_path: Path) -> None:
    """Where JAX is installed it takes three quarters of a GPU's memory as soon as it is tried out."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("raise SystemExit('jax was imported')")
    code = (
        "import sys; from sliminfer.engine.retrieval import _bm25s; _bm25s().BM25();"
        "assert 'jax' not in sys.modules; print('done')"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": f"{tmp_path}:."}, capture_output=True, text=True
    )
    assert told.stdout.strip() == "done", told.stderr
