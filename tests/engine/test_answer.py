"""An answer by steps that know no length, on a CPU launched one by one: token for token what the layer loop says."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.cache import SlimCache
from sliminfer.decode_policies import make_cache
from sliminfer.engine.answer import Answer, check_cache, stepwise
from sliminfer.engine.graphs import DecodeGraphs, NoGraph, check_step
from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.engine.meters import Stopwatch
from sliminfer.engine.sampling import Sampler
from sliminfer.engine.sequence import sequence_of
from sliminfer.engine.static_step import StaticStep
from sliminfer.model.loading import LoadedModel
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded, token_ids

STEPS = (PruneStep(2, 0.5), PruneStep(4, 0.3))
PRUNED = SlimConfig(steps=STEPS, block_size=8, local=16)
MANAGED = SlimConfig(steps=STEPS, block_size=8, local=16, active=0.6, decode_block_size=8, refresh=1)
CONFIGS = {
    "full": SlimConfig(method="full"),
    "pruned": PRUNED,
    "managed": MANAGED,
    "managed whole": MANAGED.with_changes(active_preserve=True, active=0.5, refresh=2),
    "renumbered": SlimConfig(method="gemfilter", steps=(PruneStep(3, 0.4),)),
}


@dataclass
class Asked:
    """A prompt that was read, and its first token."""

    loaded: LoadedModel
    config: SlimConfig
    tokens: int
    most: int
    seed: int = 0
    temperature: float = 0.0

    @torch.inference_mode()
    def __post_init__(self) -> None:
        blocks = BlockMap.of(self.tokens, self.config)
        self.loop = LayerLoop(self.loaded.model, self.config)
        self.cache: SlimCache = make_cache(self.config, self.loaded.layers, blocks, reserve=self.most)
        embedded = self.loop.decoder.embed_tokens(token_ids(self.tokens, self.seed))
        states = exhaust(self.loop.run(embedded, self.cache, "last"))
        self.sampler = Sampler(self.temperature, 0.9, self.seed)
        self.token = self.sampler(self.loaded.model.lm_head(states[0, -1]))
        self.loop.place(self.cache)

    @property
    def answer(self) -> Answer:
        watch = Stopwatch(torch.device("cpu"))
        return Answer(self.loaded, self.loop, self.cache, self.sampler, watch, DecodeGraphs(self.loaded.model))

    @torch.inference_mode()
    def looped(self, token: int, most: int) -> list[int]:
        return list(self.answer.eagerly(token, most))

    @torch.inference_mode()
    def steps(self) -> StaticStep:
        sequence = sequence_of(self.cache)
        assert sequence is not None
        bounds = check_cache(self.loop, self.cache, sequence, self.most)
        check_step(self.loaded.model, self.loop.stack)
        return StaticStep(self.loaded.model, self.loop.stack, bounds)

    @torch.inference_mode()
    def stepped(self, step: Any, token: int, most: int, stop: int | None = None) -> list[int]:
        sequence = sequence_of(self.cache)
        assert sequence is not None
        following = stepwise(step, self.cache, sequence, self.sampler, token, most)
        found = list(islice(following, stop))
        following.close()
        return found

    def held(self) -> list[Any]:
        """Keys and values of every layer, and how many tokens it has read."""
        return [(layer.keys, layer.values, layer.get_seq_length()) for layer in self.cache.layers]


def same(one: Asked, other: Asked) -> bool:
    """Whether both hold the same tokens, their keys and values equal to rounding."""
    pairs = list(zip(one.held(), other.held(), strict=True))
    near: dict[str, float] = {"atol": 1e-4, "rtol": 1e-4}
    return all(
        a[2] == b[2] and all(torch.allclose(x, y, **near) for x, y in zip(a[:2], b[:2], strict=True)) for a, b in pairs
    )


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral", "phi3"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_and_cache_says_the_same(family: str, name: str) -> None:
    loaded = tiny_loaded(family)
    by_loop, by_step = (Asked(loaded, CONFIGS[name], 150, 12) for _ in range(2))
    assert by_step.stepped(by_step.steps(), by_step.token, 12) == by_loop.looped(by_loop.token, 12)
    assert same(by_step, by_loop)
    assert by_step.cache.drain_events() == by_loop.cache.drain_events() or name.startswith("managed")


@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.tuples(st.integers(40, 300), st.integers(1, 30), st.sampled_from(["full", "pruned"])), max_size=4),
    st.sampled_from([0.0, 0.8]),
)
def test_one_step_serves_one_answer_after_another(asked: list[tuple[int, int, str]], temperature: float) -> None:
    loaded, step = tiny_loaded("qwen2"), None
    for seed, (tokens, most, name) in enumerate(asked):
        by_loop, by_step = (Asked(loaded, CONFIGS[name], tokens, most, seed, temperature) for _ in range(2))
        step = step or by_step.steps()
        assert by_step.stepped(step, by_step.token, most) == by_loop.looped(by_loop.token, most)


@pytest.mark.parametrize("name", ["full", "pruned", "managed"])
@pytest.mark.parametrize("stop", [1, 5])
def test_an_answer_that_stops_leaves_what_the_loop_leaves(name: str, stop: int) -> None:
    # The step that ran ahead is forgotten: the cache goes on as if it had never been.
    loaded = tiny_loaded()
    by_loop, by_step = (Asked(loaded, CONFIGS[name], 130, 20) for _ in range(2))
    found = by_step.stepped(by_step.steps(), by_step.token, 20, stop)
    assert found == by_loop.looped(by_loop.token, stop)
    assert same(by_step, by_loop)
    assert by_step.looped(found[-1], 6) == by_loop.looped(found[-1], 6)
    assert by_step.stepped(by_step.steps(), 7, 5) == by_loop.looped(7, 5)


def test_a_step_holds_no_answers_keys_once_it_is_over() -> None:
    asked = Asked(tiny_loaded(), PRUNED, 130, 20)
    step, stores = asked.steps(), [weakref.ref(layer.store) for layer in asked.cache.layers]
    asked.stepped(step, asked.token, 20, 5)
    asked.cache.close()
    assert all(store() is None for store in stores)


def test_half_precision_says_the_same() -> None:
    loaded = tiny_loaded(dtype=torch.bfloat16)
    by_loop, by_step = (Asked(loaded, PRUNED, 200, 20) for _ in range(2))
    assert by_step.stepped(by_step.steps(), by_step.token, 20) == by_loop.looped(by_loop.token, 20)


def test_working_sets_are_exchanged_as_by_the_loop() -> None:
    loaded = tiny_loaded()
    by_loop, by_step = (Asked(loaded, MANAGED, 200, 16) for _ in range(2))
    by_step.stepped(by_step.steps(), by_step.token, 16)
    by_loop.looped(by_loop.token, 16)
    swaps = [
        [(event.step, event.stage, event.loads) for event in each.cache.drain_events() if hasattr(event, "loads")]
        for each in (by_step, by_loop)
    ]
    assert swaps[0] == swaps[1]
    assert any(loads for _, _, loads in swaps[0])


def test_sampling_on_the_device_draws_what_sampling_on_the_host_draws() -> None:
    one, other = (Sampler(0.9, 0.8, seed=3) for _ in range(2))
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(5)) * 3
    assert [int(one.choose(row)) for row in logits] == [other(row) for row in logits]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attention": "eager"}, "attention eager"),
        ({"family": "cohere"}, "layers or modules of its own"),
        ({"rope": True}, "rotary factors"),
        ({"hook": True}, "layers or modules of its own"),
        ({"config": SlimConfig(method="lazyllm", steps=STEPS)}, "brings tokens back"),
        ({"config": MANAGED.with_changes(decode="lychee", active=0.3)}, "searches on the host"),
        ({"family": "mistral", "sliding_window": 40}, "sliding window"),
    ],
)
def test_what_a_graph_cannot_hold_is_left_to_the_loop(changes: dict[str, Any], reason: str) -> None:
    config, hook = changes.pop("config", SlimConfig()), changes.pop("hook", False)
    if changes.pop("rope", False):
        factors = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
        changes["rope_parameters"] = factors
    loaded = tiny_loaded(changes.pop("family", "llama"), **changes)
    asked = Asked(loaded, config, 100, 8)
    if hook:
        loaded.model.model.layers[3].mlp.down_proj.register_forward_hook(lambda *_: None)
    with pytest.raises(NoGraph, match=reason):
        asked.steps()
    with torch.inference_mode():
        answer = asked.answer
        assert len(list(answer.after(asked.token, 8))) == 8
    assert answer.how == "eager"
