"""Sparse reading in the layer loop: equal to dense attention under the same mask, in every family that it serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.slim import slim
from sliminfer.model.head import logits_of
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.budget import flop_speedup
from sliminfer.sparse.reader import SparseReader
from tests.tiny import FAMILIES, PLAIN, tiny_loaded, tiny_model, token_ids

OPTIONS = {"block": 16, "share": 0.25, "local": 1, "from_tokens": 0}
SPARSE = SlimConfig(reading="sparse", reading_options=OPTIONS, query_window=4)
PRUNED = SPARSE.with_changes(steps=(PruneStep(2, 0.6), PruneStep(4, 0.4)), local=10)
TOKENS = 190


def under(config: SlimConfig, **options: Any) -> SlimConfig:
    return config.with_changes(reading_options={**OPTIONS, **options})


@contextmanager
def watched(monkeypatch: Any) -> Iterator[list[Tensor]]:
    """The tables that are chosen within the block, one for each layer that chose."""
    found: list[Tensor] = []
    choose = SparseReader.choose

    def noted(self: SparseReader, *args: Any) -> Tensor:
        found.append(choose(self, *args))
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(SparseReader, "choose", noted)
        yield found


def dense_under(model: Any, ids: Tensor, tables: list[Tensor], kept: list[Tensor], prompt: int) -> Tensor:
    """Logits of the stock model over `ids`, whose first `prompt` tokens see what `tables` and `kept` leave of them."""
    heads, count = model.config.num_attention_heads, ids.shape[1]

    def masked(index: int) -> Any:
        alive = torch.zeros(count, dtype=torch.bool)
        alive[kept[index]] = True
        alive[prompt:] = True
        seen = (torch.ones(count, count, dtype=torch.bool).tril() & alive)[None].repeat(heads, 1, 1)
        if index < len(tables):
            wide = tables[index].repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :prompt, :prompt]
            seen[:, :prompt, :prompt] &= wide.repeat_interleave(heads // len(wide), 0)
        mask = (seen | torch.eye(count, dtype=torch.bool))[None]
        return lambda module, args, kwargs: (args, kwargs | {"attention_mask": mask})

    layers = enumerate(model.get_decoder().layers)
    hooks = [layer.register_forward_pre_hook(masked(index), with_kwargs=True) for index, layer in layers]
    try:
        with torch.inference_mode():
            logits: Tensor = model(ids, use_cache=False).logits[0]
    finally:
        for hook in hooks:
            hook.remove()
    return logits


@pytest.mark.parametrize("config", [SPARSE, PRUNED], ids=["alone", "pruned"])
@pytest.mark.parametrize("family", FAMILIES)
def test_prefill_and_decode_equal_dense_attention_under_the_same_mask(
    family: str, config: SlimConfig, monkeypatch: Any
) -> None:
    model, ids, follow = tiny_model(family, initializer_range=0.15), token_ids(TOKENS), token_ids(5, seed=1)
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, config) as loop, watched(monkeypatch) as tables:
        found = [model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]]
        kept = loop.kept_positions(cache)
        found += [model(token[None, None], past_key_values=cache).logits[0, -1] for token in follow[0]]
    assert len(tables) == (2 if config.steps else 6)
    expected = dense_under(model, torch.cat([ids, follow], 1), tables, kept, TOKENS)[TOKENS - 1 :]
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-5, rtol=1e-5)
    everything = dense_under(model, ids, [], kept, TOKENS)[-1]
    assert (everything - found[0]).abs().max() > 1e-3  # what was not read would have been seen


@pytest.mark.parametrize("kv_heads", [1, 4])
@pytest.mark.parametrize("heads", ["each", "group", "all"])
def test_any_grouping_of_heads(kv_heads: int, heads: str, monkeypatch: Any) -> None:
    model, ids = tiny_model(num_key_value_heads=kv_heads, initializer_range=0.15), token_ids(TOKENS)
    with torch.inference_mode(), slim(model, under(SPARSE, heads=heads)), watched(monkeypatch) as tables:
        found = model(ids).logits[0]
    expected = dense_under(model, ids, tables, [torch.arange(TOKENS)] * 6, TOKENS)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chooser", ["antidiagonal", "vertical_slash"])
@pytest.mark.parametrize("rule", ["max", "mass"])
def test_every_chooser_by_an_adaptive_rule(chooser: str, rule: str, monkeypatch: Any) -> None:
    model, ids = tiny_model(initializer_range=0.15), token_ids(TOKENS)
    config = under(SPARSE, chooser=chooser, rule=rule, threshold=0.5)
    with torch.inference_mode(), slim(model, config), watched(monkeypatch) as tables:
        found = model(ids).logits[0]
    expected = dense_under(model, ids, tables, [torch.arange(TOKENS)] * 6, TOKENS)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("steps", [(), (PruneStep(3, 0.5),)], ids=["alone", "pruned"])
def test_a_share_of_one_is_dense_reading(attention: str, steps: tuple[PruneStep, ...]) -> None:
    model, ids = tiny_model(attention=attention, initializer_range=0.15), token_ids(TOKENS)
    config = under(SPARSE, share=1.0).with_changes(steps=steps)
    logits = []
    for each in (config, config.with_changes(reading="dense")):
        with torch.inference_mode(), slim(model, each):
            logits.append(model(ids, logits_to_keep=1).logits)
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)


def test_a_prompt_in_pieces_reads_the_first_sparsely_and_appends_the_rest(monkeypatch: Any) -> None:
    model, ids = tiny_model(initializer_range=0.15), token_ids(TOKENS + 60)
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, SPARSE), watched(monkeypatch) as tables:
        model(ids[:, :TOKENS], past_key_values=cache)
        found = model(ids[:, TOKENS:], past_key_values=cache).logits[0]
    assert len(tables) == 6
    expected = dense_under(model, ids, tables, [torch.arange(TOKENS)] * 6, TOKENS)[TOKENS:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("steps", [(), (PruneStep(3, 0.5),)], ids=["alone", "pruned"])
def test_a_run_tells_what_it_read_and_computes_what_was_promised(steps: tuple[PruneStep, ...]) -> None:
    loaded = tiny_loaded()
    config = under(SPARSE, share=0.3).with_changes(steps=steps)
    result = RunResult()
    request = RunRequest("the keeper of the lamp wrote it down at nine " * 12, "who?", config, max_new_tokens=2)
    for event in SlimEngine(loaded).compare(request):
        result = result.after(event)
    metrics = result.pruned.metrics
    assert metrics is not None
    assert result.comparison is not None
    assert result.prompt is not None
    assert [share < 1 for share in metrics.blocks_read] == [layer < (3 if steps else 5) for layer in range(6)]
    told = result.to_dict("tiny", config)
    assert told["pruned"]["reading"] == {"blocks_read": list(metrics.blocks_read), "dense_because": ""}
    assert "reading" not in told["full"]
    promised = flop_speedup(config, loaded.shape, len(result.prompt), result.prompt.question)
    assert result.comparison.ttft_flops == pytest.approx(promised, rel=1e-12)
    dense = flop_speedup(config.with_changes(reading="dense"), loaded.shape, len(result.prompt), result.prompt.question)
    assert promised > dense


def test_where_no_layer_reads_the_whole_prompt_it_says_so() -> None:
    with slim(tiny_model(), SPARSE.with_changes(method="bm25", steps=(PruneStep(0, 0.5),))) as loop:
        assert "before layer 0" in loop.why_dense(TOKENS, torch.device("cpu"))


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("llama", {}, "dense reading"),
        ("llama", {"reading": "sparse"}, "tokens"),
        ("mistral", {"reading": "sparse", "reading_options": OPTIONS}, "window"),
        ("granite", {"reading": "sparse", "reading_options": OPTIONS}, "own forward"),
    ],
)
def test_where_it_cannot_win_it_is_off_and_says_why(family: str, changes: dict[str, Any], said: str) -> None:
    windowed = {"sliding_window": 64} if family == "mistral" else {}
    model, ids = tiny_model(family, **windowed), token_ids(TOKENS)
    config = SlimConfig(**changes)
    with torch.inference_mode(), slim(model, config) as loop:
        cache = DynamicCache()
        found = model(ids, past_key_values=cache).logits
        assert said in loop.why_dense(TOKENS, ids.device).lower()
        assert loop.reader_of(cache) is None
    with torch.inference_mode():
        torch.testing.assert_close(found, model(ids).logits, atol=1e-4, rtol=1e-4)


def test_with_gradients_layers_read_densely() -> None:
    model, ids = tiny_model(initializer_range=0.15), token_ids(TOKENS)
    with slim(model, SPARSE):
        found = model(ids).logits
    torch.testing.assert_close(found, model(ids).logits, atol=1e-5, rtol=1e-5)


def test_the_families_here_are_those_of_fused_steps() -> None:
    assert not {*FAMILIES} & {*PLAIN}


def test_the_last_token_of_an_answer_is_that_of_the_loop() -> None:
    """The engine computes one row of the last layer, `slim` all of them: both the same."""
    loaded = tiny_loaded(initializer_range=0.15)
    config = under(SPARSE)
    request = RunRequest("the keeper of the lamp wrote it down at nine " * 12, "who?", config, max_new_tokens=1)
    prepared = SlimEngine(loaded).prepare(request)
    result = RunResult()
    for event in SlimEngine(loaded).run(request):
        result = result.after(event)
    assert result.pruned.metrics is not None
    assert result.pruned.metrics.first_logits is not None
    ids = torch.tensor([prepared.prompt.ids])
    with torch.inference_mode(), slim(loaded.model, config, prepared.prompt.question) as loop:
        states = loop.decoder(ids).last_hidden_state[:, -1]
        wanted = logits_of(loaded.model, states)[0]
    found = torch.from_numpy(result.pruned.metrics.first_logits)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
