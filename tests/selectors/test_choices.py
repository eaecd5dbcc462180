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
from sliminfer.schedule.blocks import MOST_QUERIES, UNKNOWN_QUESTION, BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import Attention, PromptView, PruneView, available, make_selector, published
from sliminfer.selectors.sliminfer import SlimInfer
from tests.selectors.cases import ONCE, TWICE, case, run
from tests.tiny import tiny_model, token_ids

TOKENS, HEADS, KV_HEADS, WIDTH = 60, 4, 2, 8
# Blocks count for themselves alone.
ALONE: dict[str, Any] = {"half_life_before": 0, "half_life_after": 0}


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


def test_lazyllm_averages_the_last_queries_attention_over_heads() -> None:
    for window in (1, 4):
        found, queries, keys = score(case("lazyllm").with_changes(query_window=window))
        torch.testing.assert_close(found, attention(queries[:, -window:], keys).sum(1).mean(0))


def test_gemfilter_adds_raw_products_over_heads_and_averages_neighbours() -> None:
    for window in (1, 4):
        found, queries, keys = score(case("gemfilter", ONCE, pool=5).with_changes(query_window=window))
        summed = queries[:, -window:].sum(1)
        raw = sum(keys[head * KV_HEADS // HEADS] @ summed[head] for head in range(HEADS))
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
    config = case("adaptive", (PruneStep(2, 0.8),), mass=0.95, least=0.0, **ALONE)
    view = planted_view(config, planted)
    selection = make_selector(config, view.prompt).select(view)
    assert selection is not None
    assert (selection.kept // 8).unique().tolist() == sorted({*view.prompt.blocks.forced, *planted})
    assert selection.scores is not None
    assert selection.threshold == selection.scores[planted].min()


@pytest.mark.parametrize(("before", "after"), [(0, 0), (8, 8), (4, 4), (8, 32), (0, 16), (16, 0)])
def test_sliminfer_lets_a_block_count_for_its_neighbours(before: float, after: float) -> None:
    config = case("sliminfer", (PruneStep(2, 0.4),), half_life_before=before, half_life_after=after)
    view = planted_view(config, [8])
    selection = make_selector(config, view.prompt).select(view)
    assert selection is not None
    assert selection.scores is not None
    scores, best = selection.scores.tolist(), float(selection.scores[8])
    assert best > 0.9
    for distance in range(8):
        for block, length in ((8 - distance, before), (8 + distance, after)):
            if block not in view.prompt.blocks.forced:
                weight = 1.0 if not distance else 0.5 ** (8 * distance / length) if length else 0.0
                assert scores[block] == pytest.approx(best * weight, abs=1e-3), block


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
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.floats(0.5, 64), st.floats(0.5, 64))
def test_spreading_is_the_best_of_what_the_neighbours_lend(scores: list[float], before: float, after: float) -> None:
    config = case("sliminfer", half_life_before=before, half_life_after=after)
    selector = make_selector(config, PromptView(BlockMap(8 * len(scores), 8, ())))
    assert isinstance(selector, SlimInfer)

    def lent(giver: int, taker: int) -> float:
        return scores[giver] * 0.5 ** (8 * abs(taker - giver) / (after if taker > giver else before))

    found = selector.spread(torch.tensor(scores))
    for block, value in enumerate(found.tolist()):
        near = range(max(0, block - 15), min(len(scores), block + 16))
        assert value == pytest.approx(max(lent(giver, block) for giver in near), rel=1e-5, abs=1e-30)


@pytest.mark.parametrize(("carry", "kept"), [(1.0, {5, 7}), (0.0, {7})])
def test_sliminfer_remembers_what_earlier_steps_found(carry: float, kept: set[int]) -> None:
    config = case("sliminfer", (PruneStep(2, 0.5), PruneStep(4, 0.3)), carry=carry, **ALONE)
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
        config = case("adaptive", (PruneStep(2, keep),), mass=mass, least=least, **ALONE)
        view = planted_view(config, [5])
        selection = make_selector(config, view.prompt).select(view)
        assert selection is not None
        assert len(selection.kept) == blocks * 8


def test_adaptive_keeps_less_of_a_document_with_less_in_it() -> None:
    config = case("adaptive", (PruneStep(2, 0.8),), mass=0.9, least=0.0, **ALONE)
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
        with pytest.raises(ConfigError, match="pass logits_to_keep=1"):
            model(ids, past_key_values=DynamicCache())
        model(ids, past_key_values=cache, logits_to_keep=1)
        kept = loop.kept_positions(cache)
    assert len({tuple(positions.tolist()) for positions in kept}) == 1
    assert [layer.keys.shape[2] for layer in cache.layers] == [50] * 6
    # What has been read is the whole prompt: a chat that goes on from this cache gives the tokens after it.
    assert [layer.get_seq_length() for layer in cache.layers] == [100] * 6


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (case("streaming", pool=3), "has no option 'pool': it has none"),
        (case("sliminfer", carry=-1), "carry is -1"),
        (case("sliminfer", half_life_after=-1), "half_life_after is -1: it is a number of tokens"),
        (case("adaptive", half_life_before="far"), "half_life_before is 'far'"),
        (case("sliminfer", half_life_after=float("inf")), "half_life_after is inf"),
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


@pytest.mark.parametrize("method", ["sliminfer", "adaptive", "streaming", "fastkv"])
def test_a_smaller_keep_never_keeps_more_and_what_is_forced_goes_on_alone(method: str) -> None:
    counts = []
    for keep in (0.9, 0.6, 0.4, 0.2, 0.1, 0.02):
        config = case(method, (PruneStep(2, keep),), **({"mass": 1.0} if method == "adaptive" else {}))
        view, _, _ = random_view(config)
        selection = make_selector(config, view.prompt).select(view)
        counts.append(TOKENS if selection is None else len(selection.kept))
    forced = view.prompt.blocks.tokens_in(view.prompt.blocks.forced)
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == forced < counts[0]


def test_a_short_prompt_keeps_the_least_that_is_asked_for() -> None:
    for least, kept in ((0, 24), (32, 32), (48, 48), (60, 60)):
        config = case("streaming", (PruneStep(2, 0.4),)).with_changes(least_tokens=least)
        view, _, _ = random_view(config)
        selection = make_selector(config, view.prompt).select(view)
        found = TOKENS if selection is None else len(selection.kept)
        assert kept - 4 <= found <= kept + 4
        plan = type(make_selector(config, view.prompt)).plan(config, view.prompt.blocks, 6)
        assert plan.layer_runs[-1] == found


def test_the_queries_are_the_questions_and_all_that_follows_it_where_it_is_known() -> None:
    known = BlockMap.of(200, SlimConfig(), (150, 180))
    assert known.window == 50
    assert BlockMap.of(200, SlimConfig()).window == UNKNOWN_QUESTION
    assert BlockMap.of(5, SlimConfig()).window == 5
    assert BlockMap.of(10_000, SlimConfig(), (100, 200)).window == MOST_QUERIES
    assert BlockMap.of(200, SlimConfig(query_window=7), (150, 180)).window == 7
