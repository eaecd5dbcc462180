"""What the methods of 2026 choose: each score against its formula written out once more, slowly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import Attention, PromptView, PruneView, make_selector, selector_class
from sliminfer.selectors.budget import at_flop_budget
from sliminfer.selectors.sources import Drafting, Retrieval
from tests.selectors.cases import ONCE, case, outside, run
from tests.selectors.test_budget import DEMO
from tests.selectors.test_choices import HEADS, KV_HEADS, TOKENS, WIDTH, attention
from tests.tiny import tiny_model, token_ids

BEFORE = (PruneStep(0, 0.4),)


def layers_of(count: int) -> list[tuple[Tensor, Tensor]]:
    """Random queries and keys of some layers."""
    generator = torch.Generator().manual_seed(8)
    return [
        (torch.randn(HEADS, 4, WIDTH, generator=generator), torch.randn(KV_HEADS, TOKENS, WIDTH, generator=generator))
        for _ in range(count)
    ]


def view_of(config: SlimConfig, layers: list[tuple[Tensor, Tensor]], step: int = 0) -> PruneView:
    prompt = PromptView(BlockMap.of(TOKENS, config), outside=outside(TOKENS))
    read = tuple(Attention(lambda window, q=q: q[:, -window:], lambda k=k: k) for q, k in layers)
    return PruneView(config.steps[step], prompt, torch.arange(TOKENS), read[-1:], read)


def pooled(row: Tensor, pool: int) -> Tensor:
    half = pool // 2
    return torch.stack([row[max(0, at - half) : at + half + 1].max() for at in range(len(row))])


def test_claa_averages_the_layers_pools() -> None:
    layers, config = layers_of(3), case("claa", ONCE, layers=3, pool=5)
    view = view_of(config, layers)
    selector: Any = make_selector(config, view.prompt)
    each = [sum(pooled(head, 5) for head in attention(queries, keys).sum(1)) for queries, keys in layers]
    torch.testing.assert_close(selector.score(view), sum(each) / 3)


def test_claa_reads_the_layers_that_come_before_its_cut() -> None:
    assert selector_class("claa").looks_back(case("claa", ONCE, layers=3), 3) == 3
    deep, alone = (case("claa", (PruneStep(4, 0.4),), layers=count, pool=1) for count in (4, 1))
    model, ids = tiny_model(), token_ids(120)
    kept = [run(model, ids, token_ids(1), config).kept[0][-1].tolist() for config in (deep, alone)]
    assert kept[0] != kept[1]
    shallow = case("claa", (PruneStep(1, 0.4),), layers=4, pool=1)  # fewer layers than it would read
    assert len(run(model, ids, token_ids(1), shallow).kept[0][-1]) < 120


@pytest.mark.parametrize(("settled", "cut"), [(1.0, 3), (0.0, 6)])
def test_asl_cuts_where_ranks_have_settled_or_at_the_last_candidate(settled: float, cut: int) -> None:
    steps = tuple(PruneStep(layer, 0.4) for layer in (2, 3, 4, 6))
    config = case("asl", steps, settled=settled, window=2, pool=1)
    model, cache = tiny_model(layers=8), DynamicCache()
    with torch.inference_mode(), slim(model, config) as loop:
        model(token_ids(100), past_key_values=cache, logits_to_keep=1)
        counts = [len(kept) for kept in loop.kept_positions(cache)]
    assert counts == [100] * cut + [counts[-1]] * (8 - cut)
    assert counts[-1] < 100


def test_asl_takes_the_relative_variance_of_the_ranks_it_would_keep() -> None:
    layers = layers_of(2)
    steps = (PruneStep(2, 0.5), PruneStep(3, 0.5), PruneStep(5, 0.5))
    scores = [sum(attention(queries, keys).sum(1)) for queries, keys in layers]
    ranks = [score.sort(descending=True, stable=True).indices.argsort().float() for score in scores]  # type: ignore[union-attr]
    config = case("asl", steps, settled=0.5, window=2, pool=1)
    selector: Any = make_selector(config, view_of(config, layers).prompt)
    selector.select(view_of(config, layers[:1], 0))
    selector.score(view_of(config, layers[1:], 1))
    kept = torch.arange(0, TOKENS, 3)
    share = float(torch.stack(ranks)[:, kept].var(0, correction=0).mean() / ((TOKENS**2 - 1) / 12))
    for settled, expected in ((share * 1.01, True), (share * 0.99, False)):
        other: Any = make_selector(config.with_changes(options={**config.options, "settled": settled}), selector.prompt)
        other._ranks = list(selector._ranks)
        assert other._settled(kept) is expected


def test_keydiff_keeps_the_keys_least_like_the_mean() -> None:
    ((queries, keys),) = layers_of(1)
    config = case("keydiff", ONCE)
    view = view_of(config, [(queries, keys)])
    selector: Any = make_selector(config, view.prompt)
    wanted = torch.zeros(TOKENS)
    for head in keys:
        unit = head / head.norm(dim=-1, keepdim=True)
        mean = unit.mean(0)
        wanted -= (unit @ (mean / mean.norm())) / KV_HEADS
    torch.testing.assert_close(selector.score(view), wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", ["specprefill", "bm25", "embedding"])
def test_a_chunk_counts_as_the_mean_of_its_tokens(method: str) -> None:
    config = case(method, BEFORE)
    view = view_of(config, layers_of(1))
    selector: Any = make_selector(config, view.prompt)
    scores = outside(TOKENS)
    wanted = [float(scores[at : at + 8].mean()) for at in range(0, TOKENS, 8)]
    assert selector.score(view).tolist() == pytest.approx(wanted)
    kept = make_selector(config, view.prompt).select(view)
    assert kept is not None
    best = sorted(range(1, 6), key=lambda block: -wanted[block])  # 0 is the sink, 6 and 7 are the last ten tokens
    assert sorted({int(at) // 8 for at in kept.kept}) == sorted({0, 6, 7, *best[: len(kept.kept) // 8 - 2]})


@pytest.mark.parametrize("method", ["specprefill", "bm25", "embedding", "sliminfer-draft"])
def test_equal_scores_keep_what_comes_first(method: str) -> None:
    config = case(method, (PruneStep(0, 0.7),))
    prompt = PromptView(BlockMap.of(TOKENS, config), outside=torch.full((TOKENS,), 0.25))
    kept = make_selector(config, prompt).select(PruneView(config.steps[0], prompt, torch.arange(TOKENS), ()))
    assert kept is not None
    assert len(kept.kept) > 20  # what is forced
    assert kept.kept.tolist() == [*range(8), *range(8, 8 + len(kept.kept) - 20), *range(48, TOKENS)]


def test_what_a_draft_found_stands_beside_what_the_layers_find() -> None:
    off = {"half_life_before": 0, "half_life_after": 0}
    config = case("sliminfer-draft", (PruneStep(0, 0.9), PruneStep(3, 0.5)), **off)
    layers = layers_of(1)
    view = view_of(config, layers)
    selector: Any = make_selector(config, view.prompt)
    drafted = F.pad(outside(TOKENS), (0, 4)).view(-1, 8).amax(-1)
    torch.testing.assert_close(selector.score(view), drafted)
    own: Any = make_selector(case("sliminfer", ONCE, **off), view.prompt)
    later = view_of(config, layers, 1)
    torch.testing.assert_close(selector.score(later), torch.maximum(drafted, own.score(later)))


def test_a_second_pass_leaves_tokens_where_they_were_and_their_caches_small() -> None:
    config = case("self-draft", (PruneStep(2, 0.3),))
    model, ids = tiny_model(), token_ids(100)
    found = run(model, ids, token_ids(2, seed=1), config)
    assert len({tuple(kept.tolist()) for kept in found.kept[0]}) == 1
    assert len(found.kept[0][0]) < 40


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 6), st.integers(50, 3000), st.integers(1, 40), st.floats(0, 1))
def test_a_drafts_cost_grows_with_all_that_it_does(said: int, tokens: int, window: int, skip: float) -> None:
    how = Drafting(said, 1, skip=skip)
    cost = how.flops(DEMO, tokens, window)
    assert cost > 0
    assert Drafting(said + 1, 1, skip=skip).flops(DEMO, tokens, window) > cost
    assert how.flops(DEMO, tokens + 1, window) > cost
    assert how.flops(DEMO, tokens, window + 1) > cost
    layers = how.scoring_layers(DEMO.layers)
    assert layers
    assert layers == tuple(range(layers[0], DEMO.layers))
    assert Drafting(skip=skip).scoring_layers(12, seeing=(2, 5))[-1] == 5
    assert Retrieval().flops(None, tokens, window) == 0


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("specprefill", {"look_ahead": -1}, "look_ahead"),
        ("specprefill", {"pool": 4}, "odd number"),
        ("sliminfer-draft", {"skip": 2}, "between 0 and 1"),
        ("bm25", {"passage": 0}, "passage"),
        ("embedding", {"passage": -1}, "passage"),
        ("claa", {"layers": 0}, "layers"),
        ("asl", {"window": 1}, "window"),
        ("asl", {"settled": -0.1}, "settled"),
        ("keydiff", {"pool": 3}, "has no option"),
    ],
)
def test_wrong_options_say_what_is_wrong(method: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        selector_class(method).check(case(method, (), **options))


def test_a_draft_must_be_named_and_a_way_to_bring_queries_together() -> None:
    with pytest.raises(ConfigError, match="--draft MODEL"):
        Drafting().flops(None, 100, 4)
    with pytest.raises(ConfigError, match="mean or max"):
        Drafting(over_queries="sum")  # type: ignore[arg-type]


def test_steps_before_layer_0_are_not_moved_by_a_budget() -> None:
    start = selector_class("specprefill").published(12)
    for target in (1.5, 3.0, 6.0):
        assert [step.layer for step in at_flop_budget(start, DEMO, 4096, target).steps] == [0]
