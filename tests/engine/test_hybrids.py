"""Hybrids: layers with a state run over what was kept as if it were the sequence, which is what pruning means there.

The oracle is the stock model, each layer of which reads the compacted sequence from the prune layer on.
"""

from __future__ import annotations

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished
from sliminfer.engine.request import PromptRequest, Pruning, Sampling
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError, ModelError
from sliminfer.model.prompts import Prompt
from sliminfer.model.recognise import shape_of
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import prefill_flops, stock_flops
from tests.dense_oracle import compacted_logits
from tests.engine.test_families import generate
from tests.harden.real_answers import difference
from tests.tiny import HYBRIDS, tiny_loaded, tiny_model, token_ids

# Layers 2 and 5 attend: the first step is scored by its own layer, the others by those before.
PRUNED = SlimConfig(
    steps=(PruneStep(2, 0.7), PruneStep(4, 0.5)), block_size=8, sink=1, local=10, query_window=4, aggregate="mean"
)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", HYBRIDS)
def test_a_pruned_prefill_and_what_follows_equal_the_stock_model_on_the_compacted_sequence(
    family: str, attention: str
) -> None:
    model, ids, follow = tiny_model(family, attention), token_ids(90), token_ids(8, seed=1)
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, PRUNED) as loop:
        found = [model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]]
        kept = loop.kept_positions(cache)
        found += [model(token[None, None], past_key_values=cache).logits[0, -1] for token in follow[0]]
    assert len(kept[1]) == 90 > len(kept[2]) == len(kept[3]) > len(kept[4])
    everything = [torch.cat([each, torch.arange(90, 98)]) for each in kept]
    expected = compacted_logits(model, torch.cat([ids, follow], 1), everything)[-9:]
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-4, rtol=1e-4)  # a state is read step by step
    whole = compacted_logits(model, ids, [torch.arange(90)] * 6)[-1]
    assert (whole - found[0]).abs().max() > 1e-3  # what was dropped would have been seen


def test_the_command_that_tries_real_models_measures_a_hybrid_by_its_own_oracle() -> None:
    assert difference(tiny_loaded("lfm2")) < 1e-4


@pytest.mark.parametrize("family", HYBRIDS)
def test_keeping_everything_is_the_stock_model_bit_for_bit(family: str) -> None:
    model, ids = tiny_model(family), token_ids(77)
    expected = generate(model, ids)
    with slim(model, SlimConfig(steps=(PruneStep(2, 1.0),))):
        assert generate(model, ids) == expected


@pytest.mark.parametrize("family", HYBRIDS)
def test_the_engine_runs_them_and_counts(family: str) -> None:
    loaded = tiny_loaded(family)
    assert loaded.shape.seeing == (2, 5)
    request = PromptRequest(Prompt.of_ids(token_ids(90)[0].tolist(), 4), Sampling(3), Pruning(PRUNED))
    (done,) = [event for event in SlimEngine(loaded).run(request) if isinstance(event, Finished)]
    assert [kept.scored_by for kept in done.metrics.kept] == [(2,), (2,)]
    assert done.metrics.prefill_flops < stock_flops(loaded.shape, 90)
    assert all(done.metrics.prompt_kv.device)  # a state is counted as what its layer holds


@pytest.mark.parametrize("steps", [(PruneStep(4, 0.5),), (PruneStep(3, 0.7), PruneStep(5, 0.4))])
def test_keys_are_read_of_a_layer_that_has_some(steps: tuple[PruneStep, ...]) -> None:
    config = SlimConfig(steps, "keydiff", block_size=8, local=10)
    request = PromptRequest(Prompt.of_ids(token_ids(90)[0].tolist(), 4), Sampling(3), Pruning(config))
    *_, done = SlimEngine(tiny_loaded("lfm2")).run(request)
    assert isinstance(done, Finished)
    assert len(done.metrics.kept) == len(steps)


@pytest.mark.parametrize("family", HYBRIDS)
def test_shapes_count_every_weight(family: str) -> None:
    model = tiny_model(family)
    shape = shape_of(model.config)
    small = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    assert abs(shape.params - sum(p.numel() for p in model.parameters())) <= small
    assert prefill_flops(shape, (100,) * shape.layers) == stock_flops(shape, 100)
    assert [layer.attends for layer in shape.varied] == [False, False, True] * 2


def test_what_a_state_cannot_do_is_refused() -> None:
    model, ids = tiny_model("lfm2"), token_ids(60)
    reviving = PRUNED.with_changes(method="lazyllm")
    with pytest.raises(ModelError, match="linear layers read in order"), slim(model, reviving):
        pass
    with torch.inference_mode(), slim(model, PRUNED), pytest.raises(ConfigError, match="pass logits_to_keep=1"):
        model(ids)
    with (
        torch.inference_mode(),
        slim(model, PRUNED.with_changes(active=0.5)),
        pytest.raises(ConfigError, match="leave active out"),
    ):
        model(ids, logits_to_keep=1)
