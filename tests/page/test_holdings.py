"""What is held of all visitors together stays within bounds; who was here longest ago is forgotten."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from viz.page.document_input import read_paste
from viz.page.holdings import Holdings, footprint
from viz.page.session import Visitor

MOST = 100_000


@given(st.lists(st.integers(0, 60_000), max_size=20))
def test_they_stay_within_bounds_and_the_newest_stay(sizes: list[int]) -> None:
    holdings, visitors = Holdings(MOST), list[Visitor]()
    for size in sizes:
        visitors.append(Visitor(document=read_paste("x" * size), tokens=size // 4))
        holdings.note(visitors[-1])
        here = [visitor for visitor in visitors if visitor.document is not None]
        assert here == visitors[len(visitors) - len(here) :]
        assert len(here) == 1 or sum(map(footprint, here)) <= MOST


def test_a_visitor_who_comes_back_is_the_newest_again() -> None:
    holdings = Holdings(MOST)
    first, second, third = (Visitor(document=read_paste("x" * 20_000)) for _ in range(3))
    for visitor in (first, second, first, third):
        holdings.note(visitor)
    assert first.document is not None
    assert second.document is None


def test_whose_session_is_gone_counts_no_more() -> None:
    holdings = Holdings(MOST)
    holdings.note(Visitor(document=read_paste("x" * 20_000)))
    gc.collect()
    holdings.note(Visitor())
    assert holdings.size == 0
