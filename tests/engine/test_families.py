"""Families whose layers run by their own forward: equal to the dense oracle, scored as they attend, counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.diffusion.probe import local_attention
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished
from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.engine.request import PromptRequest, Pruning, Sampling
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.model.decoder import decoder_of
from sliminfer.model.families import FAMILIES as KNOWN
from sliminfer.model.families import sliding_window
from sliminfer.model.head import logits_of
from sliminfer.model.loading import load_model
from sliminfer.model.projection import project_keys, project_queries
from sliminfer.model.prompts import Prompt
from sliminfer.model.recognise import shape_of
from sliminfer.ops.softmax import softmax_beside
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import prefill_flops, stock_flops
from sliminfer.schedule.memory import memory_estimate
from sliminfer.schedule.sight import Chunk
from sliminfer.selectors import PruneView
from sliminfer.selectors.tokenwise import attention_received
from tests.dense_oracle import dense_logits
from tests.tiny import FAMILIES, HYBRIDS, PLAIN, tiny_loaded, tiny_model, tiny_tokenizer, token_ids

PRUNED = SlimConfig(
    steps=(PruneStep(2, 0.7), PruneStep(4, 0.5)), block_size=8, sink=1, local=10, query_window=4, aggregate="mean"
)
KEPT_ALL = SlimConfig(steps=(PruneStep(2, 1.0),))
DECODED = 8


def test_every_family_is_in_the_tests() -> None:
    assert {*FAMILIES, *PLAIN, *HYBRIDS} == set(KNOWN)


# Each family on each backend that it has and that runs on a CPU.
RUNS = [(name, "eager") for name in PLAIN] + [(name, "sdpa") for name in PLAIN if "sdpa" in KNOWN[name].backends]


@pytest.mark.parametrize(("family", "attention"), RUNS)
def test_a_pruned_prefill_and_what_follows_equal_the_dense_oracle(family: str, attention: str) -> None:
    model, ids, follow = tiny_model(family, attention), token_ids(90), token_ids(DECODED, seed=1)
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, PRUNED) as loop:
        found = [model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]]
        kept = loop.kept_positions(cache)
        found += [model(token[None, None], past_key_values=cache).logits[0, -1] for token in follow[0]]
    assert len(kept[1]) == 90 > len(kept[2]) > len(kept[4])
    expected = dense_logits(model, torch.cat([ids, follow], 1), kept, 90)[89:]
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-5, rtol=1e-5)
    everything = dense_logits(model, ids, [torch.arange(90)] * 6, 90)[-1]
    assert (everything - found[0]).abs().max() > 1e-3  # what was dropped would have been seen


# A window makes the stock cache forget what ours keeps and masks, which is the same sum in another order.
WINDOWED = [name for name in PLAIN if shape_of(tiny_model(name).config).windowed]


@pytest.mark.parametrize(("family", "attention"), [run for run in RUNS if run[0] not in WINDOWED])
def test_keeping_everything_is_the_stock_model_bit_for_bit(family: str, attention: str) -> None:
    model, ids = tiny_model(family, attention), token_ids(77)
    expected = generate(model, ids)
    with slim(model, KEPT_ALL):
        assert generate(model, ids) == expected


@pytest.mark.parametrize(("family", "attention"), [run for run in RUNS if run[0] in WINDOWED])
def test_keeping_everything_reads_a_prompt_as_the_stock_model_and_goes_on_alike(family: str, attention: str) -> None:
    model, ids = tiny_model(family, attention), token_ids(77)
    tokens, (first, *later) = generate(model, ids)
    with slim(model, KEPT_ALL):
        kept, (own_first, *own_later) = generate(model, ids)
    assert (kept, own_first) == (tokens, first)
    for step, own in zip(later, own_later, strict=True):
        np.testing.assert_allclose(np.frombuffer(own, "f4"), np.frombuffer(step, "f4"), atol=1e-5)


def generate(model: Any, ids: Tensor) -> tuple[list[int], list[bytes]]:
    """Greedy tokens and the bytes of every step's logits."""
    with torch.inference_mode():
        out = model.generate(
            ids, max_new_tokens=4, do_sample=False, output_logits=True, return_dict_in_generate=True, eos_token_id=None
        )
    return out.sequences[0].tolist(), [step.numpy().tobytes() for step in out.logits]


@pytest.mark.parametrize("family", [*FAMILIES, *PLAIN])
def test_scores_are_the_attention_of_the_layer_itself(family: str) -> None:
    model, ids = tiny_model(family, "eager"), token_ids(40)
    layers = decoder_of(model).layers
    entered: list[tuple[Tensor, Tensor, Tensor]] = []
    weights: list[Tensor] = []
    for layer in layers:
        layer.register_forward_pre_hook(
            lambda _, args, kwargs: entered.append((args[0], *_table(kwargs["position_embeddings"]))), with_kwargs=True
        )
        layer.self_attn.register_forward_hook(lambda _, args, out: weights.append(out[1][0]))
    with torch.inference_mode():
        model(ids, use_cache=False)
        for index, (layer, (hidden, cos, sin), expected) in enumerate(zip(layers, entered, weights, strict=True)):
            queries = project_queries(layer, hidden, cos, sin, torch.arange(40))
            keys, softmax = project_keys(layer, hidden, cos, sin), KNOWN[family].softmax(layer.self_attn)
            groups = queries.unflatten(0, (keys.shape[0], -1)) @ keys[:, None].mT / keys.shape[-1] ** 0.5
            hidden_from = torch.ones(40, 40, dtype=torch.bool).triu(1)
            if (window := sliding_window(model.config, index)) is not None and isinstance(window, Chunk):
                chunk = torch.arange(40) // int(window)
                hidden_from |= chunk[:, None] != chunk[None, :]
            elif window is not None:
                hidden_from |= torch.ones(40, 40, dtype=torch.bool).tril(-window)
            scores = softmax.capped(groups.flatten(0, 1)).masked_fill(hidden_from, -torch.inf)
            sinks = softmax.packed(1, 40)
            found = softmax_beside(scores, None if sinks is None else sinks.view(-1, 40))
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def _table(angles: Any) -> tuple[Tensor, Tensor]:
    """Cosines and sines of what a layer is given."""
    return (angles.real, angles.imag) if torch.is_tensor(angles) else angles


def test_the_probe_shows_the_attention_of_a_layer_that_scales_by_its_own() -> None:
    model, ids, weights = tiny_model("granite", "eager"), token_ids(40), []
    decoder_of(model).layers[0].self_attn.register_forward_hook(lambda _, args, out: weights.append(out[1][0]))
    with torch.inference_mode():
        model(ids, use_cache=False)
        loop = LayerLoop(model, SlimConfig())
        received = local_attention(loop, 0, loop.enter(ids), 4)
    torch.testing.assert_close(received, weights[0][:, -4:].mean((0, 1)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", PLAIN)
def test_a_saved_model_loads_and_has_the_logits_that_the_engine_makes(family: str, tmp_path: Path) -> None:
    model, ids = tiny_model(family), token_ids(30)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), device="cpu", dtype="float32")
    with torch.inference_mode():
        expected = model(ids).logits[0]
        torch.testing.assert_close(loaded.model(ids).logits[0], expected, atol=1e-5, rtol=1e-5)
        states = decoder_of(loaded.model)(ids).last_hidden_state[0]
        torch.testing.assert_close(logits_of(loaded.model, states), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", PLAIN)
def test_shapes_count_weights_flops_and_memory(family: str) -> None:
    model = tiny_model(family)
    shape = shape_of(model.config)
    small = sum(p.numel() for p in model.parameters() if p.dim() == 1)  # norms and biases
    assert abs(shape.params - sum(p.numel() for p in model.parameters())) <= small
    for index, layer in enumerate(decoder_of(model).layers):
        matrices = sum(
            p.numel() * (1 if ".experts." not in name else _active(model.config) / 4)
            for name, p in layer.named_parameters()
            if p.dim() > 1 and "norm" not in name and "bias" not in name
        )
        assert shape.layer(index).passed == pytest.approx(matrices, abs=shape.hidden)  # the gate of a shared expert
        assert shape.layer(index).window == sliding_window(model.config, index)
    assert prefill_flops(shape, (100,) * shape.layers) == stock_flops(shape, 100)
    need = memory_estimate(shape, 5000)
    assert need.weights == 2 * shape.params
    assert need.activations > 2 * 5000 * 3 * shape.intermediate * shape.active_experts


def _active(config: Any) -> int:
    """How many of four experts a token passes."""
    names = ("num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts")
    return next(getattr(config, name) for name in names if getattr(config, name, None))


@pytest.mark.parametrize("family", ["qwen2_moe", "qwen3_moe"])
def test_experts_in_some_layers_only_are_counted(family: str) -> None:
    model = tiny_model(family, mlp_only_layers=[1], num_experts_per_tok=1)
    shape = shape_of(model.config)
    for index, layer in enumerate(decoder_of(model).layers):
        assert shape.layer(index).held == sum(p.numel() for p in layer.parameters())
    mixture, mlp = shape.layer(0), shape.layer(1)
    assert mixture.passed < 0.7 * mixture.held
    assert mlp.passed > 0.95 * mlp.held


def test_gemma_4_with_experts_beside_its_mlp_prunes_exactly_and_counts_those_that_a_token_passes() -> None:
    model = tiny_model("gemma4_text", enable_moe_block=True, num_experts=4, top_k_experts=1, moe_intermediate_size=24)
    ids, cache = token_ids(90), DynamicCache()
    with torch.inference_mode(), slim(model, PRUNED) as loop:
        found = model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]
        kept = loop.kept_positions(cache)
    torch.testing.assert_close(found, dense_logits(model, ids, kept, 90)[-1], atol=1e-5, rtol=1e-5)
    layer, counted = decoder_of(model).layers[0], shape_of(model.config).layer(0)
    idle = sum(weight.numel() for weight in layer.experts.parameters()) * 3 // 4
    norms = sum(weight.numel() for name, weight in layer.named_parameters() if weight.dim() == 1)
    assert counted.passed == counted.held - idle - norms


def test_a_method_that_brings_tokens_back_is_refused_where_no_layer_before_has_seen_everything() -> None:
    model, lazy = tiny_model("gemma3_text"), PRUNED.with_changes(method="lazyllm")
    with pytest.raises(ConfigError, match="none before layer 2 reads the whole prompt: prune at layer 3 or later"):
        LayerLoop(model, lazy)
    with torch.inference_mode(), slim(model, lazy.with_changes(steps=(PruneStep(3, 0.5),))):
        model.generate(token_ids(90), max_new_tokens=4, do_sample=False, eos_token_id=None)


def test_a_layer_that_sees_everything_chooses_and_the_result_says_which() -> None:
    loaded = tiny_loaded("gemma3_text")
    assert loaded.shape.seeing == (2, 5)
    config = PRUNED.with_changes(steps=(PruneStep(2, 0.7), PruneStep(4, 0.5), PruneStep(5, 0.4)))
    prompt = Prompt.of_ids(token_ids(90)[0].tolist(), 4)
    request = PromptRequest(prompt, Sampling(2), Pruning(config))
    (done,) = [event for event in SlimEngine(loaded).run(request) if isinstance(event, Finished)]
    assert [kept.scored_by for kept in done.metrics.kept] == [(2,), (2,), (2, 5)]
    assert done.metrics.kept[1].to_dict()["scored_by"] == [2]


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss", "gemma3_text"])
def test_what_a_step_chooses_is_what_the_attention_of_its_layer_says(family: str) -> None:
    model, ids = tiny_model(family, "eager"), token_ids(64)
    seen: list[Tensor] = []
    weights: list[Tensor] = []
    last = 2 if family == "gemma3_text" else 3
    decoder_of(model).layers[last].self_attn.register_forward_hook(lambda _, args, out: weights.append(out[1][0]))
    config = SlimConfig(steps=(PruneStep(last + 1, 0.5),), method="fastkv", query_window=4, local=4)
    with torch.inference_mode():
        loop = LayerLoop(model, config)
        cache, hidden = DynamicCache(), decoder_of(model).embed_tokens(ids)

        def look(view: PruneView) -> None:
            seen.append(attention_received(view.queries(4), view.keys(), view.softmax))

        exhaust(loop.run(hidden, cache, look=look))
    torch.testing.assert_close(seen[0], weights[0][:, -4:].sum(1), atol=1e-5, rtol=1e-4)
