"""Attention backends: right, or refused in a sentence, also where the model is given another inside the block."""

from __future__ import annotations

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.slim import slim
from sliminfer.errors import ModelError
from sliminfer.model.loading import load_model
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.tiny import FAMILIES, tiny_loaded, tiny_model, token_ids

PRUNED = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=10, query_window=4)


@pytest.mark.parametrize("config", [SlimConfig(), PRUNED], ids=["unpruned", "pruned"])
@pytest.mark.parametrize("backend", ["flex_attention", "paged|sdpa", "paged|flash_attention_2"])
def test_a_backend_with_masks_of_its_own_is_refused_before_any_run(backend: str, config: SlimConfig) -> None:
    model = tiny_model()
    model.config._attn_implementation = backend
    with pytest.raises(ModelError, match="is not supported: load the model with sdpa"), slim(model, config):
        pass
    with pytest.raises(ModelError, match="is not supported"):
        load_model("demo", attention=backend)


def test_the_engine_says_so_on_both_sides() -> None:
    engine = SlimEngine(tiny_loaded())
    engine.loaded.model.config._attn_implementation = "flex_attention"
    result = RunResult.of(engine.compare(RunRequest("The lamp was lit at nine. " * 20, "When?", PRUNED)))
    assert set(result.failed) == {"full", "pruned"}
    assert "flex_attention" in result.failed["full"]


@pytest.mark.parametrize(("first", "then"), [("sdpa", "eager"), ("eager", "sdpa")])
@pytest.mark.parametrize("config", [SlimConfig(), PRUNED], ids=["unpruned", "pruned"])
@pytest.mark.parametrize("family", FAMILIES)
def test_another_backend_inside_the_block_is_that_backend(
    family: str, config: SlimConfig, first: str, then: str
) -> None:
    model, ids, follow = tiny_model(family, first), token_ids(90), token_ids(3, seed=1)
    other = tiny_model(family, then)
    with torch.inference_mode():
        with slim(other, config) as loop:
            cache = DynamicCache()
            expected = [other(part, past_key_values=cache, logits_to_keep=1).logits for part in (ids, follow)]
            kept = loop.kept_positions(cache)
        truth = dense_logits(other, torch.cat([ids, follow], 1), kept, 90)
        with slim(model, config):
            model(ids, logits_to_keep=1)
            model.set_attn_implementation(then)
            cache = DynamicCache()
            found = [model(part, past_key_values=cache, logits_to_keep=1).logits for part in (ids, follow)]
    assert all(map(torch.equal, found, expected))
    torch.testing.assert_close(found[0][0, -1], truth[89], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1][0, -1], truth[-1], atol=1e-5, rtol=1e-5)


def test_an_unsupported_backend_inside_the_block_is_refused_at_the_next_call() -> None:
    model, ids = tiny_model(), token_ids(50)
    with torch.inference_mode(), slim(model, PRUNED) as loop:
        model(ids)
        model.set_attn_implementation("flex_attention")
        with pytest.raises(ModelError, match="flex_attention"):
            model(ids)
        model.set_attn_implementation("sdpa")
        model(ids)
    assert isinstance(loop, LayerLoop)
