"""Stages, survivors' blocks, and the budget of the working set."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.cache.stages import Survivors, check_active, forced_spans, scoring_layers, stage_layout
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig


def test_stages_cover_the_layers_in_order() -> None:
    layout = stage_layout([3, 5], 8)
    assert [(stage.first, stage.end) for stage in layout] == [(0, 3), (3, 5), (5, 8)]
    assert [layer for stage in layout for layer in stage.layers] == list(range(8))


def test_each_stage_is_scored_as_in_prefill_and_the_preserve_layers_by_the_deepest_of_them() -> None:
    steps = (PruneStep(3, 0.5), PruneStep(5, 0.25))
    stages = stage_layout([3, 5], 8)
    config = SlimConfig(steps=steps, active=0.5)
    assert scoring_layers(config, stages) == {1: 2, 2: 4}
    assert scoring_layers(config.with_changes(active_preserve=True), stages) == {0: 2, 1: 2, 2: 4}
    assert scoring_layers(config.with_changes(score_layer="own"), stages) == {1: 3, 2: 5}
    assert scoring_layers(config.with_changes(active=None), stages) == {}
    assert scoring_layers(config.with_changes(active_preserve=True), stages, (1, 5)) == {0: 1, 1: 1, 2: 1}
    assert scoring_layers(config.with_changes(score_layer="own"), stages, (1, 5)) == {1: 1, 2: 5}
    assert scoring_layers(SlimConfig(active=0.5), stage_layout([], 8)) == {}


@given(st.sets(st.integers(0, 300), min_size=1), st.integers(1, 40), st.data())
@settings(max_examples=150, deadline=None)
def test_blocks_partition_the_survivors_and_pins_hold_every_forced_position(kept, size, data) -> None:
    positions = sorted(kept)
    start = data.draw(st.integers(0, 300))
    forced = [(start, start + data.draw(st.integers(1, 60)))]
    survivors = Survivors.of(positions, size, forced)
    spans = [survivors.span(block) for block in range(len(survivors))]
    assert [token for span in spans for token in range(*span)] == list(range(len(positions)))
    assert all(end - begin == size for begin, end in spans[:-1])
    holds = {
        block for block, span in enumerate(spans) for t in range(*span) if forced[0][0] <= positions[t] < forced[0][1]
    }
    assert set(survivors.pinned) == holds | {len(spans) - 1}
    for block, span in enumerate(spans):
        assert survivors.extent(block) == (positions[span[0]], positions[span[1] - 1] + 1)


@pytest.mark.parametrize(
    ("active", "slots"), [(0.5, 5), (0.51, 6), (0.01, 2), (1.0, 10), (32, 4), (33, 5), (8, 2), (9999, 10)]
)
def test_slots_follow_the_budget_and_never_drop_a_pin(active: float | int, slots: int) -> None:
    survivors = Survivors.of(range(80), 8, [(0, 1)])
    assert survivors.slots(active) == slots


def test_a_token_budget_below_the_forced_blocks_is_refused_with_the_remedy() -> None:
    config = SlimConfig(block_size=16, local=64, decode_block_size=32)
    blocks = BlockMap.of(320, config, question=(100, 140))
    assert forced_spans(blocks) == ((0, 16), *((start, start + 16) for start in (96, 112, 128, 256, 272, 288, 304)))
    for enough in (160, 0.01, None):
        check_active(config.with_changes(active=enough), blocks)
    with pytest.raises(ConfigError, match="raise active to 160 or more"):
        check_active(config.with_changes(active=128), blocks)
