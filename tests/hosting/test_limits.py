"""A run's limits: refused before it starts, with the numbers; cut off where it takes too long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.engine import engine as engine_module
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Failed, Finished
from sliminfer.engine.limits import MOST_CHARACTERS_A_TOKEN, RunLimits
from sliminfer.engine.request import RunRequest
from sliminfer.errors import MemoryLimitError
from sliminfer.model.known import KNOWN
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.memory import check_memory, longest_prompt, memory_estimate
from tests.tiny import tiny_loaded

LLAMA = KNOWN["meta-llama/Llama-3.1-8B-Instruct"].shape
TEXT = "The keeper lit the lamp at nine. " * 40
GB = 10**9


def request(**changes: object) -> RunRequest:
    return RunRequest(TEXT, "Who?", SlimConfig.preset("paper", 12), **{"max_new_tokens": 4, **changes})  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(KNOWN)), st.integers(0, 200 * GB), st.sampled_from([2, 4]), st.sampled_from(["sdpa", "eager"])
)
def test_the_longest_prompt_fits_and_one_step_more_does_not(name: str, free: int, size: int, attention: str) -> None:
    shape = KNOWN[name].shape
    most = longest_prompt(shape, size, attention, free)
    assert most <= shape.context
    if most:
        check_memory(shape, most, size, attention, free, "here")
    if most + 100 <= shape.context:
        with pytest.raises(MemoryLimitError):
            check_memory(shape, most + 101, size, attention, free, "here")


def test_bytes_grow_with_tokens_and_hold_the_whole_cache() -> None:
    sizes = [memory_estimate(LLAMA, tokens).above_weights for tokens in (1, 1000, 8192, 8193, 131072)]
    assert all(a < b for a, b in pairwise(sizes))
    assert sizes[-1] > memory_estimate(LLAMA, 131072).kv
    assert memory_estimate(LLAMA, 131072, 2, "eager").above_weights > 10 * sizes[-1]


def test_the_message_gives_the_numbers_and_what_would_fit() -> None:
    with pytest.raises(MemoryLimitError) as caught:
        check_memory(LLAMA, 131072, 2, "sdpa", 8 * GB, "a GPU")
    told = str(caught.value)
    assert "131,072 tokens need" in told
    assert "8.00 GB are free on a GPU" in told
    assert f"{longest_prompt(LLAMA, 2, 'sdpa', 8 * GB):,} tokens" in told


def test_a_run_that_does_not_fit_is_refused_before_any_event(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SlimEngine(tiny_loaded(layers=12))
    monkeypatch.setattr(engine_module, "free_memory", lambda _: 100_000)
    with pytest.raises(MemoryLimitError, match="are free on cpu"):
        engine.compare(request())
    monkeypatch.undo()
    assert any(isinstance(event, Finished) for event in engine.compare(request()))


@pytest.mark.parametrize("limits", [RunLimits(), RunLimits(prompt_tokens=1000), RunLimits(prompt_tokens=10**9)])
def test_a_text_that_cannot_fit_is_refused_by_its_characters(limits: RunLimits) -> None:
    """What its tokens are is then never asked: the refusal tells characters only."""
    engine = SlimEngine(tiny_loaded(layers=12), limits)
    most = limits.longest_text(engine.loaded.shape.context)
    assert most == MOST_CHARACTERS_A_TOKEN * min(limits.prompt_tokens or 10**9, engine.loaded.shape.context)
    with pytest.raises(MemoryLimitError, match=f"has {most + 1:,} characters, and"):
        engine.prepare(RunRequest(" " * (most - 1) + "x", "?"))
    with pytest.raises(MemoryLimitError, match=r"The prompt has [\d,]+ tokens"):
        engine.prepare(RunRequest(" " * (most - 2) + "x", "?"))


@pytest.mark.parametrize(
    ("limits", "words"),
    [(RunLimits(prompt_tokens=100), "takes up to 100"), (RunLimits(new_tokens=3), "up to 3 tokens on this page")],
)
def test_the_hosts_limits_are_told(limits: RunLimits, words: str) -> None:
    with pytest.raises(MemoryLimitError, match=words):
        SlimEngine(tiny_loaded(layers=12), limits).prepare(request())


def test_a_run_over_its_time_ends_with_a_sentence_and_the_engine_goes_on() -> None:
    engine = SlimEngine(tiny_loaded(layers=12), RunLimits(seconds=0.0))
    events = list(engine.run(request()))
    assert isinstance(events[-1], Failed)
    assert "held the device" in events[-1].message
    engine.limits = RunLimits(seconds=600)
    assert isinstance(list(engine.run(request()))[-1], Finished)


def test_a_refused_side_ends_the_rest_and_names_the_limit() -> None:
    engine = SlimEngine(tiny_loaded(layers=12), RunLimits(seconds=0.0))
    [failed] = [event for event in engine.compare(request()) if isinstance(event, Failed)]
    assert failed.side == "full"
    assert "longer than 0 s, which is this page's limit" in failed.message


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 20))
def test_all_that_a_click_starts_has_one_limit(pauses: list[int], seconds: int) -> None:
    """Whatever comes after it is not asked for, and what makes it is closed."""
    now, closed = 0, []

    def work() -> Iterator[int]:
        nonlocal now
        try:
            for pause in pauses:
                now += pause
                yield now
        finally:
            closed.append(now)

    came, limits = list[int](), RunLimits(seconds=float(seconds))
    overdue = sum(pauses) - sum(pauses[:1]) > seconds
    with pytest.raises(MemoryLimitError, match=f"longer than {seconds} s") if overdue else nullcontext():
        came.extend(limits.within(work(), lambda: now))
    assert overdue or len(came) == len(pauses)
    assert all(at - came[0] <= seconds for at in came)
    assert closed == [now]
    assert list(RunLimits().within(iter(pauses))) == pauses
