"""RunResult: one fold of the events for everybody, right at every moment of a run, and its JSON."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import BlocksPruned, CacheNews, Compared, Event, Failed, PromptReady, Stopped
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded

DOCUMENT = "The lamp of the north tower was lit at nine. " * 12
CONFIG = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=16, active=0.5, refresh=1)
REQUEST = RunRequest(DOCUMENT, "When was the lamp lit?", CONFIG, max_new_tokens=5, ignore_eos=True)


@pytest.fixture(scope="module")
def events() -> tuple[Event, ...]:
    return tuple(SlimEngine(tiny_loaded()).compare(REQUEST))


def test_every_event_gives_the_next_value_and_changes_none(events: tuple[Event, ...]) -> None:
    values = [RunResult()]
    for event in events:
        values.append(values[-1].after(event))
    assert values[0] == RunResult()
    assert values[-1] == RunResult.of(events)
    for length in (1, len(events) // 2, len(events) - 1):
        assert values[length] == RunResult.of(events[:length])


def test_a_result_holds_all_that_was_told(events: tuple[Event, ...]) -> None:
    result = RunResult.of(events)
    first, last = events[0], events[-1]
    assert isinstance(first, PromptReady)
    assert isinstance(last, Compared)
    assert (result.prompt, result.comparison) == (first.prompt, last.comparison)
    assert result.pruned.pruned == tuple(event for event in events if isinstance(event, BlocksPruned))
    assert result.pruned.cache == tuple(event.change for event in events if isinstance(event, CacheNews))
    assert result.pruned.cache
    assert not result.full.cache
    for side in result.sides:
        assert side.metrics is not None
        assert side.metrics.token_at == side.piece_at
        assert side.metrics.tokens_per_layer == side.alive
        assert side.metrics is result.finished[side.side].metrics


def test_a_second_run_begins_afresh_and_leaves_no_stale_comparison(events: tuple[Event, ...]) -> None:
    once = RunResult.of(events)
    assert RunResult.of(events * 2) == once
    begun = once.after(events[0])
    assert begun.comparison is None
    assert begun.full == RunResult.of(events[:1]).full
    assert begun.pruned == once.pruned


def test_the_latest_side_is_the_one_that_runs(events: tuple[Event, ...]) -> None:
    result = RunResult()
    for event in events:
        result = result.after(event)
        assert result.latest.side == event.side


def test_a_side_ends_in_one_way(events: tuple[Event, ...]) -> None:
    whole = RunResult.of(events)
    begun = RunResult.of(events[:12])
    failed = begun.after(Failed("full", 1.0, message="no memory"))
    stopped = begun.after(Stopped("full", 1.0, text="so far"))
    assert (failed.failed, failed.stopped, failed.finished) == ({"full": "no memory"}, {}, {})
    assert (stopped.failed, stopped.stopped, stopped.finished) == ({}, {"full": "so far"}, {})
    assert [*whole.finished] == ["full", "pruned"]
    assert (whole.failed, whole.stopped) == ({}, {})
    assert "full" not in stopped.to_dict("tiny", CONFIG)
    assert failed.to_dict("tiny", CONFIG)["full"] == {"error": "no memory"}


def test_the_json_has_the_contracts_keys(events: tuple[Event, ...]) -> None:
    data = RunResult.of(events).to_dict("tiny", CONFIG)
    run = {"model", "device", "dtype", "prompt_tokens", "question_tokens", "config", "speedup", "fidelity"}
    assert {*run, "full", "pruned"} == set(data)
    sides = {"text", "pieces", "token_at", "ttft_s", "decode_tokens_per_s", "kv_bytes", "peak_bytes"}
    assert sides <= set(data["full"])
    assert set(data["pruned"]) == set(data["full"]) | {"kept", "cache", "kv_host_bytes"}
    assert set(data["speedup"]) == {"ttft", "ttft_flops", "efficiency", "kv_bytes"}
    assert set(data["fidelity"]) == {"first_token_kl", "agreement"}
    assert len(data["pruned"]["cache"]["events"]) == sum(isinstance(event, CacheNews) for event in events)


def test_a_single_token_has_no_speed() -> None:
    result = RunResult.of(SlimEngine(tiny_loaded()).run(replace(REQUEST, max_new_tokens=1)))
    assert math.isnan(result.pruned.tokens_per_s)
    assert math.isnan(result.to_dict("tiny", CONFIG)["pruned"]["decode_tokens_per_s"])
