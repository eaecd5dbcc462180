"""Scores across layers: what `sliminfer` chooses where several layers must agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.selectors import PruneView, make_selector, selector_class
from tests.dense_oracle import dense_logits
from tests.selectors.cases import ONCE, TWICE, case, run
from tests.selectors.test_rivals import layers_of, view_of
from tests.tiny import tiny_model, token_ids


def test_a_score_is_the_geometric_mean_of_a_blocks_best_layers() -> None:
    layers, config = layers_of(5), case("sliminfer", ONCE, across=3, half_life_before=0, half_life_after=0)
    view = replace(view_of(config, layers), behind=view_of(config, layers[:-1]).behind)
    selector: Any = make_selector(config, view.prompt)
    each = torch.stack([selector.by_layer(view, layer) for layer in (*view.behind, *view.layers)])
    best = each.sort(0, descending=True).values[:3]
    scores = selector.score(view)
    open_blocks = [block for block in range(len(view.prompt.blocks)) if block not in view.prompt.blocks.forced]
    torch.testing.assert_close(scores[open_blocks], (best.prod(0) ** (1 / 3))[open_blocks])


def test_what_earlier_layers_found_still_counts_at_the_next_step() -> None:
    config = case("sliminfer", TWICE, across=2, carry=0, half_life_before=0, half_life_after=0)
    layers = layers_of(6)
    first, second = view_of(config, layers[:3]), view_of(config, layers[3:], step=1)
    selector: Any = make_selector(config, first.prompt)
    selector.score(replace(first, behind=first.behind[:-1]))
    found = selector.score(replace(second, behind=second.behind[:-1]))
    views: list[PruneView] = [first, second]
    each = torch.stack([selector.by_layer(view, layer) for view in views for layer in view.behind])
    best = each.sort(0, descending=True).values[:2]
    free = [block for block in range(len(first.prompt.blocks)) if block not in first.prompt.blocks.forced]
    torch.testing.assert_close(found[free], best.prod(0).sqrt()[free])


@pytest.mark.parametrize("score_layer", ["both", "previous", "own"])
def test_a_pruned_prefill_equals_the_masked_one(score_layer: str) -> None:
    model, ids = tiny_model(), token_ids(120)
    config = case("sliminfer", TWICE, across=3).with_changes(score_layer=score_layer)
    cache = DynamicCache()
    with torch.inference_mode():
        with slim(model, config) as loop:
            logits = model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]
            kept = loop.kept_positions(cache)
        torch.testing.assert_close(logits, dense_logits(model, ids, kept, 120)[-1], atol=1e-5, rtol=1e-5)


def test_layers_between_the_steps_have_a_say() -> None:
    model, ids = tiny_model(), token_ids(160)
    steps = (replace(ONCE[0], layer=5),)
    kept = [run(model, ids, token_ids(1), case("sliminfer", steps, **options)).kept[0][-1].tolist()
            for options in ({}, {"across": 1}, {"across": 4})]  # fmt: skip
    assert kept[0] != kept[1] != kept[2]


def test_every_layer_that_is_scored_is_counted() -> None:
    method = selector_class("sliminfer")
    prompt = view_of(case("sliminfer", TWICE, across=2), layers_of(1)).prompt
    for score_layer, counts in {"both": (3, 3), "previous": (2, 2), "own": (3, 3)}.items():
        config = case("sliminfer", TWICE, across=2).with_changes(score_layer=score_layer)
        scored = [len(method.scorings_at(step.layer, config, prompt.blocks, 64)) for step in config.steps]
        assert tuple(scored) == counts


def test_no_layers_at_all_are_no_number_of_them() -> None:
    with pytest.raises(ConfigError, match="across"):
        selector_class("sliminfer").check(case("sliminfer", ONCE, across=-1))
