"""The figures of hostile clients: what is counted, and that the page has a place for them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harden.figures import BEGIN, END, PAGE, tables
from tests.harden.pulse import kept_waiting, starved_s
from tests.harden.strangers import MOST_PAUSE_S, mean_wait
from tests.harden.ten import ATTACKS

VERDICTS: dict[str, Any] = {
    "ten": {"attacks": [{"attack": attack, "before": before, "now": "refused"} for attack, before, _ in ATTACKS]},
    "fuzz_calls": {"calls": 9876, "statuses": {"200": 3, "503": 2}, "longest_stall_s": 0.1, "longest_health_s": 0.2,
                   "rss_growth": 0.01, "seconds": 5},
    "strangers": {"polite": 25, "hostile": 5, "mean_wait_s": [1.5, 2.5], "fewest_answers_of_a_client": 7,
                  "hostile_attempts": 1234, "longest_stall_s": 0.3, "rss_growth": -0.02},
    "killed": {"kills": 3, "longest_restart_s": 9.7},
    "terminated": {"times": 5, "longest_s": 9.5},
}  # fmt: skip
WHERE = {"cpu": "AMD", "cores": 2, "finished_at": "2026-11-26T05:40:00", "command": "figures.py"}


def test_the_tables_hold_every_verdict_and_the_page_has_their_place() -> None:
    told = tables(json.loads(json.dumps({"provenance": WHERE, "verdicts": VERDICTS})))
    assert len(ATTACKS) == 10
    for figure in (*(attack for attack, _, _ in ATTACKS), "9,876", "1.5 s", "2.5 s", "1,234", "-2.0%", "9.7", "9.5"):
        assert figure in told
    page = PAGE.read_text(encoding="utf-8")
    assert (page.count(BEGIN), page.count(END)) == (1, 1)
    assert all(f"| {attack} | {before} |" in page for attack, before, _ in ATTACKS)


@given(st.integers(1, 20), st.floats(0.5, 20))
def test_the_mean_wait_is_told_by_how_many_answers_came(clients: int, wait: float) -> None:
    """Of clients that ask, wait for `wait` and pause for half of the longest pause, for a long time."""
    each, length = wait + MOST_PAUSE_S / 2, 10_000.0
    came = [(n * each, wait) for n in range(int(length / each) + 2)]
    found = mean_wait([SimpleNamespace(waits=came)] * clients, 0.0, length)  # type: ignore[list-item]
    assert found == pytest.approx(wait, rel=0.01)
    assert mean_wait([SimpleNamespace(waits=[])], 0.0, 1.0) == float("inf")  # type: ignore[list-item]


def test_where_nobody_tells_nothing_is_taken_off() -> None:
    assert starved_s(2**22 + 1) == 0.0
    assert all(seconds >= 0 for seconds in kept_waiting().values())
