"""Who scores a prune step, where some layers see the end of the prompt alone, and where presets put their steps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import visible_pairs
from sliminfer.schedule.presets import PRESETS
from sliminfer.schedule.sight import Scorers, scorers_of, seeing_layers

GEMMA_3 = (5, 11, 17, 23)  # of 26


@pytest.mark.parametrize(
    ("layer", "asked", "scorers"),
    [
        (7, "both", Scorers(5, False)),
        (7, "own", Scorers(5, False)),
        (11, "both", Scorers(5, True)),
        (11, "own", Scorers(None, True)),
        (11, "previous", Scorers(5, False)),
        (12, "both", Scorers(11, False)),
        (5, "previous", Scorers(None, True)),
    ],
)
def test_the_last_layer_that_sees_everything_scores(layer: int, asked: str, scorers: Scorers) -> None:
    assert scorers_of(layer, GEMMA_3, asked) == scorers  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["previous", "own", "both"])
@given(layer=st.integers(1, 40))
@settings(max_examples=10)
def test_where_all_layers_see_everything_the_neighbours_score(layer: int, asked: str) -> None:
    alike = scorers_of(layer, range(50), asked)  # type: ignore[arg-type]
    assert alike == scorers_of(layer, None, asked)  # type: ignore[arg-type]
    assert alike.asked == asked
    assert set(alike.layers(layer)) == {"previous": {layer - 1}, "own": {layer}, "both": {layer - 1, layer}}[asked]


def test_a_step_before_every_layer_that_sees_is_refused_with_where_to_go() -> None:
    with pytest.raises(ConfigError, match="layer 5 is the first that does: prune there or later"):
        scorers_of(3, GEMMA_3, "both")


def test_layers_that_do_not_attend_or_have_a_window_see_less() -> None:
    assert seeing_layers([None, 16, None], [True, True, False]) == (0,)
    assert seeing_layers([None, None], [True, True]) is None
    assert seeing_layers([16, 16], [True, True]) is None  # there is nothing better to ask


@pytest.mark.parametrize("name", PRESETS)
@given(layers=st.integers(2, 60), every=st.integers(2, 6))
@settings(max_examples=15)
def test_presets_prune_at_such_a_layer_or_right_behind_it(name: str, layers: int, every: int) -> None:
    seeing = tuple(range(every - 1, layers, every)) or (layers - 1,)
    plain, moved = SlimConfig.preset(name, layers), SlimConfig.preset(name, layers, seeing=seeing)
    assert all(step.layer in seeing or step.layer - 1 in seeing for step in moved.steps)
    assert {step.keep for step in moved.steps} <= {step.keep for step in plain.steps}
    assert moved.steps[-1].keep == plain.steps[-1].keep
    assert all(step.layer <= max(plain.steps[-1].layer, seeing[0]) for step in moved.steps)


def test_a_step_stays_where_it_can_choose() -> None:
    config = SlimConfig(steps=(PruneStep(3, 0.5), PruneStep(6, 0.4), PruneStep(16, 0.2), PruneStep(17, 0.1)))
    assert [step.layer for step in config.where_seen(GEMMA_3).steps] == [5, 6, 12, 17]
    assert config.where_seen(None) is config


@given(tokens=st.integers(1, 60), window=st.integers(1, 70))
@settings(max_examples=20)
def test_pairs_are_counted_as_a_window_shows_them(tokens: int, window: int) -> None:
    seen = sum(query - window < key <= query for query in range(tokens) for key in range(tokens))
    assert visible_pairs(tokens, window) == seen
    assert visible_pairs(tokens, None) == tokens * (tokens + 1) / 2
