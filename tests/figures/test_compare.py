"""The comparison's figures: parts add up, unknown stays unknown, and text is only ever text."""

from __future__ import annotations

import html
import json
import math
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup

from sliminfer.engine.events import Failed, Stopped
from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import events_of, long_prompt, run_of
from viz.figures.cards import cards, cards_html, cards_table
from viz.figures.compare import (
    compare_html,
    fidelity,
    in_comparison,
    memory_parts,
    memory_stack,
    promised,
    repeats,
    ttft_split,
)
from viz.figures.replay import replay_html, replay_table

CONFIG = SlimConfig.preset("paper", 12)
RUN = run_of(long_prompt(1024), CONFIG, 12)
FULL, PRUNED = RUN.full.metrics, RUN.pruned.metrics
assert FULL is not None
assert PRUNED is not None
assert RUN.comparison is not None


def test_prefill_and_pruning_add_up_to_the_ttft() -> None:
    chart = ttft_split(FULL, PRUNED)
    parts = {group.name: [bar.segments[0].value for bar in group.bars] for group in chart.groups}
    for side, metrics in enumerate((FULL, PRUNED)):
        assert parts["Prefill"][side] + parts["Score and prune"][side] == pytest.approx(metrics.ttft_s)
    assert parts["First decode step"][0] == pytest.approx(FULL.token_at[1] - FULL.token_at[0])


def test_an_answer_of_one_token_has_no_decode_step() -> None:
    short = replace(PRUNED, token_at=PRUNED.token_at[:1], new_tokens=1, decode_tokens_per_s=math.nan)
    drawn = ttft_split(FULL, short).html()
    assert "nan" not in drawn.lower()


def test_memory_parts_never_fall_below_zero_and_fill_the_bar() -> None:
    lean = replace(PRUNED, peak_bytes=0)
    assert memory_parts(lean)["activations"] == 0
    chart = memory_stack(FULL, PRUNED)
    for bar, metrics in zip(chart.groups[0].bars, (FULL, PRUNED), strict=True):
        assert bar.length == pytest.approx(metrics.weights_bytes + max(metrics.peak_bytes, metrics.kv.total_device))


@pytest.mark.parametrize("chart", [ttft_split(FULL, PRUNED), memory_stack(FULL, PRUNED), promised(RUN.comparison)])
def test_bars_stay_inside_and_are_said_in_words(chart) -> None:
    soup = BeautifulSoup(chart.html(), "html.parser")
    drawn = soup.select_one(".bars-body")
    assert drawn is not None
    assert drawn["role"] == "img"
    for group in chart.groups:
        for bar in group.bars:
            assert 0 <= bar.length <= chart.scale
            assert bar.text in str(drawn["aria-label"])
    assert soup.select_one("table caption") is not None


def test_repeats_show_median_and_range() -> None:
    runs = [replace(FULL, ttft_s=value) for value in (3.0, 1.0, 2.0)]
    bar = repeats(runs, runs).groups[0].bars[0]
    assert bar.segments[0].value == 2.0
    assert bar.spread == (1.0, 3.0)


@pytest.mark.parametrize(
    ("value", "words"), [(2.0, "2.00× less"), (0.5, "2.00× more"), (1.01, "the same"), (math.nan, ""), (0.0, "")]
)
def test_a_ratio_in_words_names_its_direction(value: float, words: str) -> None:
    assert in_comparison(value, "less", "more") == words


@pytest.mark.parametrize(("kl", "words"), [(0.0, "practically"), (0.05, "close"), (0.5, "noticeably"), (9, "strongly")])
def test_fidelity_gets_plainer_words_as_answers_part(kl: float, words: str) -> None:
    first, _ = fidelity(replace(RUN.comparison, first_token_kl=kl), FULL)
    assert words in first


def test_fidelity_without_logits_says_so() -> None:
    first, _ = fidelity(replace(RUN.comparison, first_token_kl=math.nan), FULL)
    assert "cannot be compared" in first


def test_cards_fill_as_events_come() -> None:
    run, known = RunResult(), []
    for event in events_of(long_prompt(600), CONFIG, 12):
        run = run.after(event)
        assert "nan" not in cards_html(run).lower()
        known.append(sum(math.isfinite(v) for card in cards(run) for v in (card.full, card.pruned)))
    assert known == sorted(known)
    assert known[0] == 0
    assert known[-1] == 8
    assert all(card.verdict for card in cards(run))
    assert len(cards_table(run).rows) == 4


def test_folding_events_gives_both_sides_whole() -> None:
    assert RUN.full.text == RUN.pruned.text
    assert RUN.full.ttft_s == FULL.ttft_s
    assert RUN.pruned.tokens_per_s == PRUNED.decode_tokens_per_s
    assert [len(step.kept) for step in RUN.pruned.pruned] == sorted({*PRUNED.tokens_per_layer}, reverse=True)[1:]


def test_a_side_that_stops_or_fails_keeps_what_it_had() -> None:
    events = list(events_of(long_prompt(600), CONFIG, 12))[:20]
    run = RunResult()
    for event in events:
        run = run.after(event)
    stopped = run.after(Stopped("full", 1.0, text="so far"))
    assert (stopped.full.text, stopped.full.reason) == ("so far", "stopped")
    assert run.after(Failed("full", 1.0, message="no memory")).full.error == "no memory"
    assert compare_html(stopped) == ""


def test_the_replay_holds_the_recorded_times_and_says_what_it_is() -> None:
    soup = BeautifulSoup(replay_html(RUN), "html.parser")
    figure = soup.select_one(".replay")
    assert figure is not None
    data = json.loads(str(figure["data-replay"]))
    for side in RUN.sides:
        assert data[side.side]["at"] == list(side.piece_at)
        assert "".join(data[side.side]["pieces"]) == side.text
    assert "Replay" in figure.get_text()
    assert len(replay_table(RUN).rows) == FULL.new_tokens


def test_no_replay_before_both_sides_speak() -> None:
    assert replay_html(RunResult()) == ""


def test_hostile_answers_stay_text() -> None:
    bad = "</section><script>alert(1)</script>\"'"
    side = replace(RUN.full, pieces=(bad,), piece_at=(1.0,), ended=Stopped("full", 1.0, text=bad))
    drawn = replay_html(replace(RUN, full=side))
    assert "<script" not in drawn
    assert html.escape(bad) in drawn
