"""The setup a link carries, and the plan the schedule card draws."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import LayerDone
from sliminfer.engine.request import RunRequest
from sliminfer.errors import ConfigError
from sliminfer.model.known import KNOWN
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET, PRESETS, rule_of
from tests.page.serving import LAYERS, QUESTION, long_text
from tests.tiny import tiny_loaded
from viz.page.schedule_input import HYBRID, promise, read_steps
from viz.page.setup import MAX_STEPS, Setup, preset_of, preset_share, preset_steps

FULL = Setup(
    model="some/model", example="tower", question="What & who? ü=1%", steps=(PruneStep(3, 0.255), PruneStep(7, 512)),
    max_new_tokens=7, temperature=0.7, top_p=0.9, seed=5, block_size=64, sink=2, local=128, query_window=8,
    active=0.4, refresh=4, gamma=0.5, active_preserve=True, decode_unit_size=16, repeats=3,
    reading="sparse", reading_share=0.35,
)  # fmt: skip


@pytest.mark.parametrize("setup", [Setup(), FULL, Setup(steps=(PruneStep(1, 1.0),))])
def test_a_link_brings_back_the_whole_setup(setup: Setup) -> None:
    assert Setup.from_query(dict(parse_qsl(setup.to_query())), Setup()) == setup


def test_a_link_ignores_what_it_does_not_know_and_refuses_nonsense() -> None:
    assert Setup.from_query({"theme": "dark"}, FULL) == FULL
    with pytest.raises(ConfigError, match="seed"):
        Setup.from_query({"seed": "many"}, FULL)
    with pytest.raises(ConfigError, match="prune step"):
        Setup.from_query({"prune": "deep"}, FULL)


@pytest.mark.parametrize("query", [{"seed": "9" * 40}, {"temperature": "nan"}, {"reading_share": "inf"}])
def test_a_link_s_numbers_are_those_that_json_can_hold(query: dict[str, str]) -> None:
    """The page answers in it."""
    with pytest.raises(ConfigError, match="not a number"):
        Setup.from_query(query, Setup())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("layers", [2, 8, 12, 80])
def test_a_preset_is_recognised_by_its_steps(name: str, layers: int) -> None:
    steps, share = preset_steps(name, layers), preset_share(name)
    found = SlimConfig.preset(preset_of(steps, layers, "", share), layers)
    assert (found.steps, found.reading_options.get("share")) == (steps, share)


def test_read_steps_takes_as_many_rows_as_are_shown() -> None:
    layers, keeps = (3, 5, 6), (50.0, 12.5, 100.0)
    assert read_steps((2, *layers, *keeps)) == (PruneStep(3, 0.5), PruneStep(5, 0.125))
    assert len(read_steps((MAX_STEPS, *layers, *keeps))) == MAX_STEPS


def test_decode_memory_is_off_until_the_working_set_is_less_than_all() -> None:
    assert Setup().config() == SlimConfig(**rule_of("demo"))
    assert Setup(model="another").config() == SlimConfig(least_tokens=PRESETS[DEFAULT_PRESET].least_tokens)
    config = FULL.config()
    assert (config.active, config.refresh, config.gamma) == (0.4, 4, 0.5)
    assert (config.active_preserve, config.decode_unit_size) == (True, 16)


def test_the_card_promises_what_the_engine_then_does() -> None:
    loaded = tiny_loaded(layers=LAYERS)
    setup = Setup(steps=(PruneStep(4, 0.5), PruneStep(8, 0.25)))
    request = RunRequest(long_text(12), QUESTION, setup.config(), max_new_tokens=1)
    alive = [event.alive for event in SlimEngine(loaded).run(request) if isinstance(event, LayerDone)]
    drawn = re.findall(r"--h:([0-9.]+)%", promise(setup, loaded.shape, alive[0]))
    assert [float(height) for height in drawn] == pytest.approx([100 * n / alive[0] for n in alive], abs=5)


def test_the_card_says_what_is_wrong_with_the_steps() -> None:
    shape = tiny_loaded(layers=6).shape
    assert "does not exist" in promise(Setup(steps=(PruneStep(9, 0.5),)), shape, 1000)
    assert "Keep must not grow" in promise(Setup(steps=(PruneStep(2, 0.2), PruneStep(3, 0.5))), shape, 1000)


def test_a_hybrid_is_said_to_be_an_approximation_and_windows_move_the_steps() -> None:
    steps = (PruneStep(2, 0.5), PruneStep(9, 0.2))
    hybrid, windows = KNOWN["Qwen/Qwen3.5-9B"].shape, KNOWN["google/gemma-3-270m-it"].shape
    assert HYBRID in promise(Setup(steps=steps), hybrid, 4096)
    said = promise(Setup(steps=steps), windows, 4096)
    assert HYBRID not in said
    assert "Layers 0–4 read all 4,096 tokens" in said  # layer 5 is the first that sees everything
    assert "from layer 6 on" in said
