"""What a visitor settled by hand: the last word on a character counts, and nothing is kept and dropped at once."""

from __future__ import annotations

from itertools import pairwise

import gradio as gr
from hypothesis import given
from hypothesis import strategies as st

from viz.page.document_input import read_paste
from viz.page.hands import Hands
from viz.page.hands_input import MOST, HandsEvents, build
from viz.page.session import ResultStore, Visitor

SPANS = st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
MOVES = st.lists(st.tuples(st.sampled_from(["keeping", "dropping", "freed"]), SPANS), max_size=12)


@given(MOVES)
def test_the_last_word_on_every_character_counts(moves: list[tuple[str, tuple[int, int]]]) -> None:
    hands, fate = Hands(), [""] * 50
    for move, (start, end) in moves:
        hands = getattr(hands, move)((start, end))
        fate[start:end] = [{"keeping": "keep", "dropping": "drop", "freed": ""}[move]] * (end - start)
    for name in ("keep", "drop"):
        spans = getattr(hands, name)
        assert [at for at, said in enumerate(fate) if said == name] == [at for a, b in spans for at in range(a, b)]
        assert all(a < b for a, b in spans)
    for spans in (hands.keep, hands.drop):
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


@given(SPANS, st.booleans())
def test_a_second_click_takes_the_first_back(span: tuple[int, int], went_on: bool) -> None:
    once = Hands().turned(span, went_on)
    assert once == (Hands(drop=(span,)) if went_on else Hands(keep=(span,)))
    assert once.turned(span, went_on) == Hands()


def test_no_more_passages_are_settled_than_can_be_looked_up() -> None:
    with gr.Blocks():
        tools = build()
    visitor, events = Visitor(document=read_paste("lamp " * 500)), HandsEvents(tools, ResultStore())
    for at in range(MOST + 5):
        visitor.picked = (10 * at, 10 * at + 4)
        told = (events.keep if at % 2 else events.drop)(visitor)
    assert len(visitor.hands.keep) + len(visitor.hands.drop) == MOST
    assert f"Up to {MOST} passages" in told[tools.list]
    visitor.picked = (0, 10 * MOST)
    assert "Always kept" in events.keep(visitor)[tools.list]
