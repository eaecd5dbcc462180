"""The last layer of a prefill for the last token alone: same answer, same cache, fewer products."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import FAMILIES, tiny_model, token_ids

CONFIGS = {
    "full": SlimConfig(),
    "pruned": SlimConfig(steps=(PruneStep(2, 0.7), PruneStep(4, 0.5)), block_size=8, local=10, query_window=4),
    "pruned before the last layer": SlimConfig(steps=(PruneStep(5, 0.5),), block_size=8, local=10, query_window=4),
}


def states(model: Any, ids: Tensor, config: SlimConfig, last_row: bool) -> tuple[Tensor, DynamicCache, list[int]]:
    """The normed states of a prefill, its cache and the tokens alive in each layer."""
    cache, alive = DynamicCache(), []
    with torch.inference_mode(), slim(model, config) as loop:
        run = loop.run(loop.decoder.embed_tokens(ids), cache, "last" if last_row else "kept")
        while True:
            try:
                alive.append(next(run).alive)
            except StopIteration as done:
                return done.value, cache, alive


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_last_state_and_cache_are_those_of_the_whole_layer(family: str, attention: str, config: SlimConfig) -> None:
    model, ids = tiny_model(family, attention), token_ids(101)
    whole, kept, alive = states(model, ids, config, last_row=False)
    last, cache, counted = states(model, ids, config, last_row=True)
    assert last.shape == (1, 1, 32)
    assert counted == alive
    torch.testing.assert_close(last[:, -1], whole[:, -1], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(cache.layers, kept.layers, strict=True):
        assert torch.equal(ours.keys, theirs.keys)
        assert torch.equal(ours.values, theirs.values)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_sliding_window_of_the_last_layer_holds(attention: str) -> None:
    model, ids = tiny_model("mistral", attention, sliding_window=24), token_ids(90)
    for config in CONFIGS.values():
        whole, _, _ = states(model, ids, config, last_row=False)
        last, _, _ = states(model, ids, config, last_row=True)
        torch.testing.assert_close(last[:, -1], whole[:, -1], atol=1e-5, rtol=1e-5)


def test_a_layer_that_runs_its_own_forward_gives_the_same_state() -> None:
    model, ids = tiny_model(), token_ids(80)
    fused, _, _ = states(model, ids, CONFIGS["pruned"], last_row=True)
    last = model.model.layers[-1]
    last.forward = last.forward  # no longer an unmodified layer, so it is left alone
    own, _, _ = states(model, ids, CONFIGS["pruned"], last_row=True)
    torch.testing.assert_close(own[:, -1], fused[:, -1], atol=1e-5, rtol=1e-5)
