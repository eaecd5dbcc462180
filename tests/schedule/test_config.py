"""SlimConfig, PruneStep and BlockMap: what is accepted, what is refused and in which words, round trips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap, to_ranges
from sliminfer.schedule.config import PruneStep, SlimConfig, parse_steps
from sliminfer.schedule.presets import PRESETS
from sliminfer.selectors import check_method, selector_class

keeps = st.one_of(st.floats(0.01, 1.0), st.integers(2, 5000))


@st.composite
def configs(draw: st.DrawFn) -> SlimConfig:
    layers = sorted(draw(st.sets(st.integers(1, 40), max_size=3)))
    fractions = sorted(draw(st.lists(st.floats(0.01, 1.0), min_size=len(layers), max_size=len(layers))), reverse=True)
    block = draw(st.sampled_from([1, 2, 8, 16, 32, 64]))
    return SlimConfig(
        steps=tuple(PruneStep(layer, keep) for layer, keep in zip(layers, fractions, strict=True)),
        block_size=block,
        unit_size=draw(st.sampled_from([u for u in (1, 2, 4, 8) if u <= block])),
        sink=draw(st.integers(0, 4)),
        local=draw(st.integers(1, 200)),
        gamma=draw(st.floats(0, 1)),
        active=draw(st.none() | keeps),
    )


@given(configs())
def test_json_round_trip(config: SlimConfig) -> None:
    assert SlimConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(configs(), st.integers(1, 3000), st.integers(0, 3000), st.integers(0, 100))
def test_block_map_invariants(config: SlimConfig, tokens: int, start: int, length: int) -> None:
    start = min(start, tokens)
    question = (start, min(tokens, start + length))
    blocks = BlockMap.of(tokens, config, question)
    spans = [blocks.span(i) for i in range(len(blocks))]
    assert [p for a, b in spans for p in range(a, b)] == list(range(tokens))
    forced = {p for i in blocks.forced for p in range(*blocks.span(i))}
    assert set(range(*question)) <= forced
    assert set(range(max(0, tokens - config.local), tokens)) <= forced
    assert blocks.tokens_in(range(len(blocks))) == tokens
    budgets = [blocks.budget(step) for step in config.steps]
    assert budgets == sorted(budgets, reverse=True)
    for step, budget in zip(config.steps, budgets, strict=True):
        assert budget * config.block_size >= step.budget_tokens(tokens)
        assert (budget - 1) * config.block_size < step.budget_tokens(tokens)


@given(st.sets(st.integers(0, 300)))
def test_ranges_round_trip(positions: set[int]) -> None:
    ranges = to_ranges(sorted(positions))
    assert [p for a, b in ranges for p in range(a, b)] == sorted(positions)
    assert all(b < c for (_, b), (c, _) in pairwise(ranges))


@given(st.lists(st.tuples(st.integers(1, 60), keeps), max_size=4))
def test_steps_parse_what_they_print(pairs: list[tuple[int, Any]]) -> None:
    text = ",".join(f"{layer}:{keep!r}" for layer, keep in pairs)
    assert [(s.layer, s.keep) for s in parse_steps(text)] == pairs


def test_a_count_beyond_every_number_of_tokens_keeps_the_whole_prompt() -> None:
    assert PruneStep(1, 10**400).budget_tokens(1000) == 1000
    assert SlimConfig(steps=(PruneStep(1, 0.5),), active=10**400).active == 10**400


def test_equal_configs_hash_alike_whatever_their_options() -> None:
    one, other = (SlimConfig(steps=(PruneStep(2, 0.5),), options={"half_life": 8}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, one.with_changes(block_size=16)}) == 2


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 12, 16, 28, 80])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_models_of_any_depth(name: str, layers: int) -> None:
    config = SlimConfig.preset(name, layers)
    config.check_model(layers)
    assert bool(config.steps) == (layers > 1)


@pytest.mark.parametrize(("model", "depths"), [("", range(2, 81)), ("demo", [12])])
@pytest.mark.parametrize("tokens", [30, 193, 250, 600, 1089, 2000, 131_072])
def test_aggressive_ends_below_balanced_and_that_below_gentle(model: str, depths: Sequence[int], tokens: int) -> None:
    """Where 192 tokens that are kept in any case, or the question, leave room for a difference."""
    for layers in depths:
        ran = []
        for name in ("aggressive", "balanced", "gentle"):
            config = SlimConfig.preset(name, layers, model)
            blocks = BlockMap.of(tokens, config, (max(0, tokens - 30), tokens - 10))
            ran.append(selector_class(config.method).plan(config, blocks, layers, None).layer_runs)
        assert [each[-1] for each in ran] == sorted(each[-1] for each in ran)
        assert [sum(each) for each in ran] == sorted(sum(each) for each in ran)
        if tokens >= 2000:
            assert ran[0][-1] < ran[1][-1] < ran[2][-1]
            assert sum(ran[0]) < sum(ran[1]) < sum(ran[2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: check_method(SlimConfig((PruneStep(0, 0.5),))), "layer 0 always sees the whole prompt"),
        (lambda: PruneStep(-1, 0.5), "not a whole number"),
        (lambda: PruneStep(2.5, 0.5), "not a whole number"),  # type: ignore[arg-type]
        (lambda: PruneStep(2, 0.0), "between 0 and 1"),
        (lambda: PruneStep(2, 1.5), "between 0 and 1"),
        (lambda: PruneStep(2, -3), "not a positive token count"),
        (lambda: PruneStep(2, float("nan")), "not a number"),
        (lambda: PruneStep(2, "half"), "not a number"),  # type: ignore[arg-type]
        (lambda: PruneStep(2, None), "not a number"),  # type: ignore[arg-type]
        (lambda: SlimConfig(steps=5), "steps is 5: give PruneSteps"),  # type: ignore[arg-type]
        (lambda: SlimConfig(steps=((2, 0.5),)), "give PruneSteps"),  # type: ignore[arg-type]
        (lambda: SlimConfig.from_dict(5), "5 is no config"),  # type: ignore[arg-type]
        (lambda: SlimConfig.from_dict({1: 2}), "Unknown setting '1'"),  # type: ignore[dict-item]
        (lambda: SlimConfig(steps=(PruneStep(4, 0.5), PruneStep(3, 0.25))), "must rise"),
        (lambda: SlimConfig(steps=(PruneStep(3, 0.25), PruneStep(4, 0.5))), "must not grow"),
        (lambda: SlimConfig(block_size=0), "block_size is 0"),
        (lambda: SlimConfig(block_size=True), "block_size is True"),
        (lambda: SlimConfig(unit_size=5), "does not divide"),
        (lambda: SlimConfig(decode_unit_size=5), "does not divide decode_block_size 32"),
        (lambda: SlimConfig(decode_block_size=0), "decode_block_size is 0"),
        (lambda: SlimConfig(local=0), "local is 0"),
        (lambda: SlimConfig(gamma=1.5), "between 0 and 1"),
        (lambda: SlimConfig(active=0.0), "between 0 and 1"),
        (lambda: SlimConfig(score_layer="next"), "previous, own or both"),  # type: ignore[arg-type]
        (lambda: SlimConfig(aggregate="sum"), "max or mean"),  # type: ignore[arg-type]
        (lambda: SlimConfig.preset("wild", 12), "gentle, paper, balanced, aggressive"),
        (lambda: SlimConfig(steps=(PruneStep(12, 0.5),)).check_model(12), "layers 0 to 11"),
        (lambda: SlimConfig.from_dict({"stepz": []}), "Unknown setting 'stepz'"),
        (lambda: SlimConfig.from_dict({"steps": [{"layer": 3}]}), "needs a layer and a keep"),
        (lambda: parse_steps("4=0.5"), "LAYER:KEEP"),
        (lambda: parse_steps("4:half"), "LAYER:KEEP"),
    ],
)
def test_invalid_configs_say_what_is_wrong(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_config_files(tmp_path: Path) -> None:
    config = SlimConfig.preset("paper", 12, gamma=0.5)
    bare, preset, broken = tmp_path / "bare.json", tmp_path / "preset.json", tmp_path / "broken.json"
    bare.write_text(json.dumps(config.to_dict()))
    preset.write_text(json.dumps({"name": "mine", "config": config.to_dict()}))
    broken.write_text("{")
    assert SlimConfig.from_file(bare) == SlimConfig.from_file(preset) == config
    for place in (broken, tmp_path / "missing.json"):
        with pytest.raises(ConfigError, match="not a readable JSON config"):
            SlimConfig.from_file(place)
