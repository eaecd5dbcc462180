"""Events on their way to the page: complete, in order, paced, and stopped when nobody looks any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sliminfer.errors import ConfigError
from viz.page.stream import FIGURE_PERIOD_S, TEXT_PERIOD_S, on_thread, paced, plain_message


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


def test_every_item_arrives_once_and_in_order(executor: ThreadPoolExecutor) -> None:
    items = on_thread(lambda: iter(range(500)), executor, threading.Event())
    assert [item for item in items if item is not None] == list(range(500))


def test_what_the_work_raises_is_raised_to_the_page(executor: ThreadPoolExecutor) -> None:
    def start() -> Iterator[int]:
        raise ConfigError("No such layer: choose another.")

    with pytest.raises(ConfigError, match="choose another"):
        list(on_thread(start, executor, threading.Event()))


def test_stopping_closes_the_work_at_its_next_item(executor: ThreadPoolExecutor) -> None:
    stop, closed = threading.Event(), threading.Event()

    def start() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    items = on_thread(start, executor, stop)
    assert next(items) == 0
    stop.set()
    assert len(list(items)) < 10**6
    assert closed.wait(5)


def test_a_page_that_goes_away_stops_the_work(executor: ThreadPoolExecutor) -> None:
    stop, closed = threading.Event(), threading.Event()

    def start() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    beats = paced(on_thread(start, executor, stop))
    next(beats)
    beats.close()
    assert stop.is_set()
    assert closed.wait(5)


def test_beats_come_no_faster_than_text_may_change_and_lose_nothing() -> None:
    now = [0.0]
    step = 0.01

    def items() -> Iterator[int]:
        for item in range(1000):
            now[0] += step
            yield item

    beats = list(paced(items(), clock=lambda: now[0]))
    assert [item for beat in beats for item in beat.items] == list(range(1000))
    assert len(beats) <= 1000 * step / TEXT_PERIOD_S + 2
    assert sum(beat.figures for beat in beats) <= 1000 * step / FIGURE_PERIOD_S + 2
    assert beats[-1].figures


def test_a_quiet_stretch_still_gives_the_page_a_turn(executor: ThreadPoolExecutor) -> None:
    go_on = threading.Event()

    def start() -> Iterator[int]:
        go_on.wait(10)
        yield 1

    items = on_thread(start, executor, threading.Event())
    assert next(items) is None
    go_on.set()
    assert 1 in list(items)


def test_a_fault_of_ours_is_told_as_it_is_and_any_other_as_one_sentence() -> None:
    assert plain_message(ConfigError("Keep is too large: lower it.")) == "Keep is too large: lower it."
    words = plain_message(KeyError("secret"))
    assert "secret" not in words
    assert "KeyError" in words
