"""What each method chooses: its score against the formula written out, its knobs, and its errors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError, ModelError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import Attention, PromptView, PruneView, available, make_selector, published
from sliminfer.selectors.sliminfer import SlimInfer
from tests.selectors.cases import ONCE, TWICE, case, run
from tests.tiny import tiny_model, token_ids

TOKENS, HEADS, KV_HEADS, WIDTH = 60, 4, 2, 8


def view_of(config: SlimConfig, queries: Tensor, keys: Tensor, evidence: tuple[tuple[int, int], ...] = ()) -> PruneView:
    prompt = PromptView(BlockMap.of(keys.shape[1], config), evidence=evidence)
    alive = torch.arange(keys.shape[1])
    return PruneView(config.steps[0], prompt, alive, (Attention(lambda window: queries[:, -window:], lambda: keys),))


def random_view(config: SlimConfig) -> tuple[PruneView, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    queries = torch.randn(HEADS, 4, WIDTH, generator=generator)
    keys = torch.randn(KV_HEADS, TOKENS, WIDTH, generator=generator)
    return view_of(config, queries, keys), queries, keys


def attention(queries: Tensor, keys: Tensor) -> Tensor:
    """Causal softmax attention of the last queries [heads, window, n], head by head, query by query."""
    window, count = queries.shape[1], keys.shape[1]
    rows = torch.zeros(HEADS, window, count)
    for head in range(HEADS):
        for at in range(window):
            seen = count - window + at + 1
            logits = keys[head * KV_HEADS // HEADS, :seen] @ queries[head, at] / math.sqrt(WIDTH)
            rows[head, at, :seen] = logits.softmax(0)
    return rows


def score(config: SlimConfig) -> tuple[Tensor, Tensor, Tensor]:
    view, queries, keys = random_view(config)
    selector: Any = make_selector(config, view.prompt)
    return selector.score(view), queries, keys


def test_fastkv_sums_queries_pools_neighbours_and_sums_heads() -> None:
    found, queries, keys = score(case("fastkv", ONCE, pool=7))
    received = attention(queries, keys).sum(1)
    expected = [received[:, max(0, i - 3) : i + 4].max(1).values.sum() for i in range(TOKENS)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_two_layers_give_each_block_the_better_of_their_scores() -> None:
    config = case("sliminfer", ONCE)
    one, _, _ = random_view(config)
    flipped = Attention(lambda window: one.queries(window).flip(0), lambda: one.keys().flip(1))
    views = [replace(one, layers=layers) for layers in (one.layers, (flipped,), (*one.layers, flipped))]
    selectors: list[Any] = [make_selector(config, one.prompt) for _ in views]
    first, second, both = (selector.score(view) for selector, view in zip(selectors, views, strict=True))
    assert not torch.equal(first, second)
    torch.testing.assert_close(both, torch.maximum(first, second), rtol=0, atol=0)


def test_lazyllm_averages_the_last_tokens_attention_over_heads() -> None:
    found, queries, keys = score(case("lazyllm"))
    torch.testing.assert_close(found, attention(queries[:, -1:], keys)[:, 0].mean(0))


def test_gemfilter_adds_raw_products_over_heads_and_averages_neighbours() -> None:
    found, queries, keys = score(case("gemfilter", ONCE, pool=5))
    raw = sum(keys[head * KV_HEADS // HEADS] @ queries[head, -1] for head in range(HEADS))
    assert isinstance(raw, Tensor)
    expected = [raw[max(0, i - 2) : i + 3].mean() for i in range(TOKENS)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_streaming_keeps_the_first_and_the_last_blocks() -> None:
    view, _, _ = random_view(config := case("streaming"))
    selection = make_selector(config, view.prompt).select(view)
    assert selection is not None
    assert (selection.kept // 8).unique().tolist() == [0, 3, 4, 5, 6, 7]


def test_random_repeats_by_seed_and_differs_between_seeds() -> None:
    def kept(seed: int) -> list[int]:
        view, _, _ = random_view(config := case("random", (PruneStep(2, 0.5),), seed=seed))
        selection = make_selector(config, view.prompt).select(view)
        assert selection is not None
        return selection.kept.tolist()

    assert kept(1) == kept(1)
    assert len({tuple(kept(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("evidence", [((17, 18),), ((25, 41),), ((9, 10), (33, 34))])
def test_oracle_keeps_all_evidence_that_fits(evidence: tuple[tuple[int, int], ...]) -> None:
    config = case("oracle", (PruneStep(2, 0.8),))
    _, queries, keys = random_view(config)
    view = view_of(config, queries, keys, evidence)
    selection = make_selector(config, view.prompt).select(view)
    assert selection is not None
    assert {i for span in evidence for i in range(*span)} <= set(selection.kept.tolist())


def planted_view(config: SlimConfig, blocks: list[int]) -> PruneView:
    """A view in which every query attends, with equal and nearly all its weight, to one token in each of `blocks`."""
    keys = torch.zeros(1, 160, WIDTH)
    keys[0, [block * 8 + 3 for block in blocks], 0] = 40.0
    return view_of(config, torch.ones(1, 4, WIDTH), keys)


@pytest.mark.parametrize("planted", [[5], [5, 9], [3, 5, 9, 11]])
def test_adaptive_keeps_as_many_blocks_as_hold_the_mass(planted: list[int]) -> None:
    config = case("adaptive", (PruneStep(2, 0.8),), mass=0.95, least=0.0, half_life=0)
    view = planted_view(config, planted)
    selection = make_selector(config, view.prompt).select(view)
    assert selection is not None
    assert (selection.kept // 8).unique().tolist() == sorted({*view.prompt.blocks.forced, *planted})
    assert selection.scores is not None
    assert selection.threshold == selection.scores[planted].min()


@pytest.mark.parametrize(
    ("half_life", "weights"), [(0, {0: 1.0}), (8, {d: 0.5**d for d in range(8)}), (4, {2: 1 / 16})]
)
def test_sliminfer_lets_a_block_count_for_its_neighbours(half_life: float, weights: dict[int, float]) -> None:
    config = case("sliminfer", (PruneStep(2, 0.4),), half_life=half_life)
    view = planted_view(config, [8])
    selection = make_selector(config, view.prompt).select(view)
    assert selection is not None
    assert selection.scores is not None
    scores, best = selection.scores.tolist(), float(selection.scores[8])
    assert best > 0.9
    for distance, weight in weights.items():
        if 8 + distance not in view.prompt.blocks.forced:
            for block in (8 - distance, 8 + distance):
                assert scores[block] == pytest.approx(best * weight, abs=1e-3), block
    if not half_life:
        assert max(scores[7], scores[9]) < 1e-3


def test_sliminfer_lets_nothing_kept_by_force_count_for_its_neighbours() -> None:
    config = case("sliminfer", (PruneStep(2, 0.4),))
    forced = planted_view(config, [1]).prompt.blocks.forced[1]
    view = planted_view(config, [forced])
    selection = make_selector(config, view.prompt).select(view)
    assert selection is not None
    assert selection.scores is not None
    assert float(selection.scores[forced]) > 0.9
    assert float(selection.scores[forced - 1]) < 1e-3


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.floats(0.5, 64))
def test_spreading_is_the_best_of_what_the_neighbours_lend(scores: list[float], half_life: float) -> None:
    config = case("sliminfer", half_life=half_life)
    selector = make_selector(config, PromptView(BlockMap(8 * len(scores), 8, ())))
    assert isinstance(selector, SlimInfer)
    found = selector.spread(torch.tensor(scores))
    for block, value in enumerate(found.tolist()):
        near = range(max(0, block - 7), min(len(scores), block + 8))
        assert value == pytest.approx(max(scores[i] * 0.5 ** (8 * abs(block - i) / half_life) for i in near), rel=1e-5)


@pytest.mark.parametrize(("carry", "kept"), [(1.0, {5, 7}), (0.0, {7})])
def test_sliminfer_remembers_what_earlier_steps_found(carry: float, kept: set[int]) -> None:
    config = case("sliminfer", (PruneStep(2, 0.5), PruneStep(4, 0.3)), carry=carry, half_life=0)
    view = planted_view(config, [5])
    selector = make_selector(config, view.prompt)
    assert selector.select(view) is not None
    alive = torch.tensor([block * 8 + i for block in selector.alive.tolist() for i in range(8)])  # type: ignore[attr-defined]
    keys = planted_view(config, [7]).keys()[:, alive]
    later = PruneView(config.steps[1], view.prompt, alive, (Attention(view.queries, lambda: keys),))
    selection = selector.select(later)
    assert selection is not None
    assert selection.scores is not None
    high = {block for block, score in enumerate(selection.scores.tolist()) if score > 0.5}
    assert high == kept
    assert high <= set((selection.kept // 8).tolist())


def test_adaptive_stays_within_its_bounds() -> None:
    for mass, least, keep, blocks in ((0.0, 0.5, 0.8, 10), (1.0, 0.0, 0.5, 10), (0.0, 0.0, 0.8, 4)):
        config = case("adaptive", (PruneStep(2, keep),), mass=mass, least=least, half_life=0)
        view = planted_view(config, [5])
        selection = make_selector(config, view.prompt).select(view)
        assert selection is not None
        assert len(selection.kept) == blocks * 8


def test_adaptive_keeps_less_of_a_document_with_less_in_it() -> None:
    config = case("adaptive", (PruneStep(2, 0.8),), mass=0.9, least=0.0, half_life=0)
    sizes = []
    for planted in ([5], [4, 5, 6], [3, 5, 7, 9, 11, 13]):
        view = planted_view(config, planted)
        selection = make_selector(config, view.prompt).select(view)
        assert selection is not None
        sizes.append(len(selection.kept))
    assert sizes == sorted(set(sizes))


def test_lazyllm_brings_tokens_back_once_and_keeps_its_other_rows_waiting() -> None:
    model, ids = tiny_model(), token_ids(100)
    found = run(model, ids, token_ids(6, seed=2), case("lazyllm"))
    for before, after in zip(found.kept, found.kept[1:], strict=False):
        for layer, (old, new) in enumerate(zip(before, after, strict=True)):
            assert set(old.tolist()) <= set(new.tolist())
            assert len(set(new.tolist())) == len(new)
            assert layer >= 2 or len(new) == 100
    assert len(found.kept[-1][5]) > len(found.kept[0][5])
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, case("lazyllm")) as loop:
        model(ids, past_key_values=cache)
        held = loop.waiting_bytes(cache)
        dropped = {2: 100 - len(found.kept[0][2]), 4: len(found.kept[0][2]) - len(found.kept[0][4])}
        row = (32 + 8 + 8) * 4 + 8
        assert held == {layer: count * row for layer, count in dropped.items()}


def test_lazyllm_is_refused_where_it_could_not_be_right() -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match="score_layer to previous"):
        LayerLoop(model, case("lazyllm").with_changes(score_layer="own"))
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="sdpa"):
        LayerLoop(model, case("lazyllm"))


def test_gemfilter_holds_only_what_it_chose_in_every_layer() -> None:
    model, ids = tiny_model(), token_ids(100)
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, case("gemfilter", ONCE)) as loop:
        model(ids, past_key_values=cache)
        kept = loop.kept_positions(cache)
    assert len({tuple(positions.tolist()) for positions in kept}) == 1
    assert [layer.get_seq_length() for layer in cache.layers] == [50] * 6


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (case("streaming", pool=3), "has no option 'pool': it has none"),
        (case("sliminfer", carry=-1), "carry is -1"),
        (case("sliminfer", half_life=-1), "half_life is -1: it is a number of tokens"),
        (case("adaptive", half_life="far"), "half_life is 'far'"),
        (case("sliminfer", half_life=float("inf")), "half_life is inf"),
        (case("fastkv", ONCE, pol=3), "has no option 'pol': known are pool"),
        (case("fastkv", ONCE, pool=4), "pool is 4: it must be an odd number"),
        (case("gemfilter", ONCE, pool=0), "pool is 0"),
        (case("random", seed=-1), "seed is -1"),
        (case("adaptive", mass=1.5), "mass is 1.5"),
        (case("adaptive", least="a"), "least is 'a'"),
        (case("fastkv", TWICE), "prunes once, but 2 prune steps"),
        (case("gemfilter", TWICE), "prunes once"),
        (case("best"), "Unknown method 'best': choose one of full"),
    ],
)
def test_wrong_settings_are_refused_in_words_before_any_run(config: SlimConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LayerLoop(tiny_model(), config)


def test_the_oracle_asks_for_evidence() -> None:
    model = tiny_model()
    with torch.inference_mode(), slim(model, case("oracle")), pytest.raises(ConfigError, match="task"):
        model(token_ids(100))


@pytest.mark.parametrize("layers", [2, 3, 12, 32, 80])
def test_published_settings_fit_any_depth(layers: int) -> None:
    for method in available():
        config = published(method, layers)
        assert config.method == method
        config.check_model(layers)
        assert SlimConfig.from_dict(config.to_dict()) == config
