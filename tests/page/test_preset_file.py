"""A preset file on the page: what tune wrote is shown, what cannot be shown is refused, and nothing crashes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep, SlimConfig
from viz.page.preset_input import setup_of_preset
from viz.page.setup import Setup

NOW = Setup(model="another", question="Who?", seed=3)
CONFIG = SlimConfig(steps=(PruneStep(4, 0.35), PruneStep(8, 0.175)), block_size=64, local=32, active=0.5)


def written(config: SlimConfig, **changes: Any) -> bytes:
    claim = {"claim": {"sentence": "Agreement 1.0 supports at least 0.9."}}
    return json.dumps({"config": config.to_dict() | changes, "tuned": claim}).encode()


def test_a_preset_of_tune_becomes_the_setup() -> None:
    setup, said = setup_of_preset(written(CONFIG), NOW, 12)
    assert setup.config() == CONFIG
    assert (setup.question, setup.seed) == ("Who?", 3)
    assert said == "Agreement 1.0 supports at least 0.9."
    assert setup_of_preset(json.dumps(CONFIG.to_dict()).encode(), NOW, 12) == (setup, "")


def test_a_preset_of_the_demo_model_brings_that_models_rule() -> None:
    demo = Setup(question="Who?")
    config = SlimConfig.preset("balanced", 12, "demo")
    setup, _ = setup_of_preset(written(config), demo, 12)
    assert setup.config() == config
    with pytest.raises(ConfigError, match="sets aggregate, options, which"):
        setup_of_preset(written(config), NOW, 12)


def test_keeps_between_the_sliders_stops_are_rounded_up() -> None:
    config = SlimConfig(steps=(PruneStep(4, 0.0625), PruneStep(8, 0.03125)))
    setup, said = setup_of_preset(written(config), NOW, 12)
    assert [step.keep for step in setup.steps] == [0.0625, 0.0325]
    assert said.startswith("Keeps are rounded up")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "fastkv"}, "sets method,"),
        ({"unit_size": 4, "aggregate": "mean"}, "sets aggregate, unit_size,"),
        ({"steps": [{"layer": 12, "keep": 0.5}]}, "does not exist"),
        ({"steps": [{"layer": 4, "keep": 512}]}, "keeps in percent"),
        ({"steps": []}, "1 to 3 prune steps"),
        ({"colour": "red"}, "Unknown setting"),
        ({"block_size": "32"}, "whole number"),
    ],
)
def test_what_the_page_cannot_show_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        setup_of_preset(written(CONFIG, **changes), NOW, 12)


@pytest.mark.parametrize(
    "data", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"config": 3}', b" " * 2_000_000, b'{"a": 1e999}']
)
def test_other_files_are_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"\.$"):
        setup_of_preset(data, NOW, 12)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(CONFIG.to_dict())), ANYTHING)
def test_whatever_stands_in_a_config_it_is_taken_or_refused(name: str, value: Any) -> None:
    data = json.dumps({"config": CONFIG.to_dict() | {name: value}}).encode()
    try:
        setup, _ = setup_of_preset(data, NOW, 12)
    except ConfigError:
        return  # any other error fails the test
    taken = setup.config().to_dict()[name]
    assert taken == value or name in ("steps", "active", "decode_unit_size")
