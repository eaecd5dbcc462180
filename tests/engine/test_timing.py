"""When alternating runs say enough, and what they may be taken to say."""

from __future__ import annotations

import statistics
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.engine.again import time_again
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Compared, Retimed
from sliminfer.engine.race import Lane, how_to_start, race
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.timing import BEYOND, MOST_PAIRS, SURE, Timing, sure_ranks
from sliminfer.model.loading import wrap_model
from sliminfer.schedule.config import SlimConfig
from tests.tiny import tiny_loaded, tiny_model, tiny_tokenizer

TIMES = st.floats(0.001, 10)
PAIRS = st.lists(st.tuples(TIMES, TIMES), max_size=30)
REQUEST = RunRequest("The keeper lit the lamp at nine. " * 40, "Who?", SlimConfig.preset("paper", 12), max_new_tokens=3)
GPU = Lane("cuda", "H100", 0, loaded=True, busy=False)


@given(PAIRS, st.floats(1, 8))
def test_what_is_told_lies_within_what_was_seen_and_is_possible(
    pairs: list[tuple[float, float]], bound: float
) -> None:
    timing = Timing(tuple(pairs), bound)
    low, high = timing.extremes
    if timing.interval is not None:
        assert low <= timing.interval[0] <= timing.median <= timing.interval[1] <= high
    if timing.told:
        assert timing.median <= BEYOND * bound
        assert not timing.wants_more(0, 1e9)
    assert all(timing.ratios[at] > bound for at in timing.beyond)


@given(PAIRS, st.floats(1, 8), st.floats(0, 5), st.floats(0, 5))
def test_no_pair_is_begun_that_would_not_end_in_time(
    pairs: list[tuple[float, float]], bound: float, spent: float, budget: float
) -> None:
    if Timing(tuple(pairs), bound).wants_more(spent, budget):
        assert spent + max(map(sum, pairs)) <= budget
        assert len(pairs) < MOST_PAIRS


@pytest.mark.parametrize("count", range(2, 13))
def test_the_interval_holds_the_true_median_as_often_as_it_says(count: int) -> None:
    """Of `count` values each is below the true median by the toss of a coin: all tosses are tried."""
    ranks = sure_ranks(count)
    if ranks is None:
        assert count < 5
        return
    low, high = ranks
    held = sum(low < below.bit_count() < high for below in range(2**count))
    assert held >= SURE * 2**count
    narrower = sum(low + 1 < below.bit_count() < high - 1 for below in range(2**count))
    assert narrower < SURE * 2**count


def test_noise_of_a_short_prompt_is_never_told_and_steady_pairs_are() -> None:
    noise = Timing(tuple((0.02 * k, 0.02) for k in (0.75, 5.17, 1.2, 2.0, 0.9)), 2.0)
    assert not noise.told
    assert noise.beyond == (1,)
    steady = Timing(tuple((0.1 + 0.0005 * k, 0.05) for k in range(6)), 2.2)
    assert steady.told
    assert steady.median == pytest.approx(statistics.median(steady.ratios))
    assert Timing(((9.0, 5.0),), 2.0).told  # a long prefill is told by one pair
    assert not Timing(((9.0, 3.0),), 2.0).told  # but not what the arithmetic forbids


def test_more_pairs_run_in_turn_until_the_time_is_up_and_are_added_up() -> None:
    engine = SlimEngine(tiny_loaded(layers=12))
    result = RunResult.of(engine.compare(REQUEST))
    assert result.timing is not None
    ticks = iter(range(1000))
    more = list(time_again(engine, REQUEST, result.timing, 6.0, threading.Event(), clock=lambda: float(next(ticks))))
    assert 1 <= len(more) <= 6
    assert all(isinstance(event, Retimed) and event.full_s > 0 and event.pruned_s > 0 for event in more)
    for event in more:
        result = result.after(event)
    assert result.timing is not None
    assert len(result.timing.pairs) == 1 + len(more)
    assert result.to_dict("m", REQUEST.config)["timing"]["flops"] == pytest.approx(result.timing.bound)
    stopped = threading.Event()
    stopped.set()
    assert list(time_again(engine, REQUEST, result.timing, 6.0, stopped)) == []


@pytest.mark.parametrize(("lanes", "start"), [
    ([GPU], "in turn"),
    ([GPU, Lane("cuda", "H100", 1, True, False)], "race"),
    ([GPU, Lane("cuda", "A10", 1, True, False)], "in turn"),
    ([GPU, Lane("cuda", "H100", 0, True, False)], "in turn"),
    ([GPU, Lane("", "", 1, False, False)], "in turn"),
    ([GPU, Lane("cuda", "H100", 1, True, True)], "in turn"),
    ([Lane("cpu", "cpu", 0, True, False), Lane("cpu", "cpu", 1, True, False)], "in turn"),
    ([Lane("cuda", "A10", 2, True, False), GPU, Lane("cuda", "H100", 1, True, False)], "in turn"),
    ([Lane("cuda", "H100", 2, True, True), GPU, Lane("cuda", "H100", 1, True, False)], "race"),
])  # fmt: skip
def test_only_two_equal_free_accelerators_may_race(lanes: list[Lane], start: str) -> None:
    assert how_to_start(lanes) == start


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_both_sides_race_on_two_gpus() -> None:
    engines = []
    for index in (0, 1):
        model = tiny_model(layers=12, dtype=torch.bfloat16, hidden_size=256, head_dim=64).to(f"cuda:{index}")
        engines.append(SlimEngine(wrap_model("tiny", model, tiny_tokenizer(), torch.device("cuda", index), "sdpa")))
    alone = RunResult.of(engines[0].compare(REQUEST))
    with ThreadPoolExecutor(1) as pool:
        events = list(race(engines[0], lambda: engines[1], pool, engines[0].prepare(REQUEST)))
    last = events[-1]
    assert isinstance(last, Compared)
    assert last.raced
    raced = RunResult.of(events)
    assert (raced.full.text, raced.pruned.text) == (alone.full.text, alone.pruned.text)
