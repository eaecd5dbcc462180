"""Choosers and rules: whatever they choose, what is always read is read, nothing later is, and shares are kept."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.reading import Grid, SparseReading
from sliminfer.sparse import available, check_reading, chooser_class, make_chooser
from sliminfer.sparse.reader import SparseReader
from sliminfer.sparse.rules import always, by_mass, by_max, by_share, choose

choosers = pytest.mark.parametrize("chooser", available())


def states(heads: int, tokens: int, seed: int, width: int = 16) -> Tensor:
    return torch.randn(heads, tokens, width, generator=torch.Generator().manual_seed(seed))


def grid_of(reading: SparseReading, tokens: int, asking: int = 3) -> Grid:
    return Grid.of(reading, BlockMap.of(tokens, SlimConfig(), (tokens - asking, tokens)))


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(1, 300),
    block=st.sampled_from([16, 32]),
    sink=st.integers(0, 3),
    local=st.integers(1, 4),
    asking=st.integers(1, 40),
    share=st.floats(0.01, 1.0),
    rule=st.sampled_from(["share", "max", "mass"]),
    chooser=st.sampled_from(available()),
)
def test_what_is_always_read_is_read_and_nothing_later(
    tokens: int, block: int, sink: int, local: int, asking: int, share: float, rule: str, chooser: str
) -> None:
    reading = SparseReading(
        chooser, rule, share=share, threshold=share, block=block, sink=sink, local=local  # type: ignore[arg-type]
    )
    grid = grid_of(reading, tokens, min(asking, tokens))
    scores = make_chooser(reading, grid).scores(states(2, tokens, 1), states(1, tokens, 2), 0.25)
    assert scores.shape == (2, len(grid), len(grid))
    table = choose(scores, grid, reading)
    causal, forced = always(grid, len(grid), table.device)
    assert (table | ~forced).all()
    assert not (table & ~causal).any()
    assert table.diagonal(dim1=1, dim2=2).all()
    if rule == "share":
        assert table.sum(-1).tolist() == [list(grid.counts(share))] * 2


@choosers
@pytest.mark.parametrize("tokens", [16, 100, 192])
def test_scores_are_shares_of_attention(chooser: str, tokens: int) -> None:
    reading = SparseReading(chooser, block=16)
    grid = grid_of(reading, tokens)
    scores = make_chooser(reading, grid).scores(states(4, tokens, 3), states(2, tokens, 4), 0.25)
    assert scores.isfinite().all()
    assert (scores >= 0).all()
    assert not scores.triu(1).any()
    torch.testing.assert_close(scores.sum(-1), torch.ones(4, len(grid)), atol=0.15, rtol=0)


@pytest.mark.parametrize("chooser", [name for name in available() if not chooser_class(name).looks_ahead])
@settings(max_examples=20, deadline=None)
@given(tokens=st.integers(40, 200), read=st.integers(20, 200), rule=st.sampled_from(["share", "max", "mass"]))
def test_what_a_block_reads_is_chosen_by_what_comes_up_to_it(chooser: str, tokens: int, read: int, rule: str) -> None:
    """By a document alone, and of a prompt's last blocks alone, the same is chosen as by all of the prompt."""
    reading = SparseReading(chooser, rule, share=0.3, block=16)  # type: ignore[arg-type]
    read, queries, keys = min(read, tokens), states(4, tokens, 3), states(2, tokens, 4)
    grid, document = Grid.of_document(reading, tokens), Grid.of_document(reading, read)
    whole = choose(make_chooser(reading, grid).scores(queries, keys, 0.25), grid, reading)
    alone = choose(make_chooser(reading, document).scores(queries[:, :read], keys[:, :read], 0.25), document, reading)
    first = document.dense_from
    assert torch.equal(alone[:, :first, :first], whole[:, :first, :first])
    if first * 16 < tokens:
        last = choose(make_chooser(reading, grid).scores(queries[:, first * 16 :], keys, 0.25), grid, reading)
        assert torch.equal(last, whole[:, first:])
        counts = grid.counts(0.3)
        assert grid.pairs(counts[first:]) == grid.pairs([*range(1, first + 1), *counts[first:]])


@choosers
def test_a_block_that_everybody_reads_is_found(chooser: str) -> None:
    """One block of keys like every query: of all but the forced blocks it comes first."""
    queries, keys = 0.1 * states(2, 256, 5), 0.1 * states(1, 256, 6)
    queries[..., 0] += 4
    keys[:, 80:96, 0] += 4
    reading = SparseReading(chooser, share=0.01, block=16, sink=1, local=1)
    grid = grid_of(reading, 256)
    scores = make_chooser(reading, grid).scores(queries, keys, 1.0)
    rows = torch.arange(8, 15)  # behind that block, and its neighbour which diagonals may touch
    free = scores[:, rows].clone()
    free[..., 0] = 0.0
    free[:, torch.arange(len(rows)), rows] = 0.0
    assert (free.argmax(-1) == 5).all()


def test_the_shape_of_each_rule() -> None:
    reading = SparseReading(block=16, sink=0, local=1)
    grid = grid_of(reading, 64, 1)
    scores = torch.tensor([[1.0, 0, 0, 0], [0.9, 0.1, 0, 0], [0.5, 0.3, 0.2, 0], [0.4, 0.3, 0.2, 0.1]])[None]
    assert by_share(scores, grid, 0.5)[0, 2].tolist() == [True, False, True, False]
    assert by_max(scores, grid, 0.6)[0, 2].tolist() == [True, True, True, False]
    assert by_max(scores, grid, 0.7)[0, 2].tolist() == [True, False, True, False]
    assert by_mass(scores, grid, 0.4)[0, 2].tolist() == [True, False, True, False]
    assert by_mass(scores, grid, 0.7)[0, 2].tolist() == [True, True, True, False]
    assert by_share(scores, grid, 0.01)[0, 3].all()  # it asks


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(40, 400), low=st.floats(0.05, 0.95), rule=st.sampled_from(["share", "mass"]))
def test_more_is_never_less(tokens: int, low: float, rule: str) -> None:
    more = min(1.0, low + 0.2)
    few, many = (
        SparseReading(rule=rule, share=level, threshold=level, block=16)  # type: ignore[arg-type]
        for level in (low, more)
    )
    grid = grid_of(few, tokens)
    scores = make_chooser(few, grid).scores(states(2, tokens, 7), states(2, tokens, 8), 0.5)
    assert (choose(scores, grid, many) | ~choose(scores, grid, few)).all()


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(1, 500), share=st.floats(0.01, 1.0), asking=st.integers(1, 300))
def test_the_pairs_of_a_grid_are_those_of_its_mask(tokens: int, share: float, asking: int) -> None:
    reading = SparseReading(block=32)
    grid = grid_of(reading, tokens, min(asking, tokens))
    counts = grid.counts(share)
    assert all(count >= math.ceil(share * (own + 1) - 1e-9) for own, count in enumerate(counts))
    table = by_share(torch.rand(1, len(grid), len(grid)), grid, share)
    seen = table[0].repeat_interleave(32, 0).repeat_interleave(32, 1)[:tokens, :tokens].tril()
    assert grid.pairs(counts) == int(seen.sum())
    assert grid.pairs(range(1, len(grid) + 1)) == tokens * (tokens + 1) / 2


@pytest.mark.parametrize(("heads", "tables"), [("each", 4), ("group", 2), ("all", 1)])
def test_heads_choose_by_themselves_or_together(heads: str, tables: int) -> None:
    reading = SparseReading(block=16, heads=heads)  # type: ignore[arg-type]
    reader = SparseReader(reading, grid_of(reading, 200))
    assert len(reader.choose(states(4, 200, 9), states(2, 200, 10), 0.25)) == tables


def test_a_choice_serves_the_next_layer_where_two_agreed() -> None:
    reading = SparseReading(block=16, agree=0.9)
    reader = SparseReader(reading, grid_of(reading, 200))
    same = states(4, 200, 9), states(2, 200, 10), states(2, 200, 11)
    for layer in range(6):
        reader.attend(layer, *same, 0.25)
    assert reader.chose == [0, 1, 3, 5]
    assert set(reader.counts) == set(range(6))
    assert [read.scored > 0 for read in reader.reads().values()] == [True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chooser": "nobody"}, "nobody"),
        ({"share": 0.0}, "share"),
        ({"block": 48}, "block"),
        ({"rule": "best"}, "rule"),
        ({"local": 0}, "local"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_reading(SlimConfig(reading="sparse", reading_options=options))
