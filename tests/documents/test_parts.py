"""Parts of a long document: within the limit, in order, around what was asked for, and nothing is lost unsaid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.documents.parts import (
    GAP,
    Part,
    first_part,
    last_part,
    page_numbers,
    pages_part,
    part_around,
)
from sliminfer.errors import DocumentError

TEXTS = st.text("ab. \n", min_size=1, max_size=200)


def sound(part: Part, text: str) -> None:
    assert part.length == len(text)
    assert all(0 <= start < end <= len(text) for start, end in part.spans)
    assert part.taken + sum(end - start for start, end in part.left_out) == len(text)
    edges = sorted([*part.spans, *part.left_out])
    assert "".join(text[start:end] for start, end in edges) == text


@given(TEXTS, st.integers(1, 220))
def test_first_and_last_keep_to_the_limit_and_their_end(text: str, most: int) -> None:
    first, last = first_part(text, most), last_part(text, most)
    for part in (first, last):
        sound(part, text)
        assert part.taken <= most
        assert part.taken == len(text) or most < len(text)
    assert not first.spans or first.spans[0][0] == 0
    assert not last.spans or last.spans[-1][1] == len(text)


@given(TEXTS, st.data())
def test_what_was_asked_for_is_in_the_part_around_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    at = (start, data.draw(st.integers(start + 1, len(text))))
    most = data.draw(st.integers(at[1] - at[0], 220))
    part = part_around(text, at, most)
    sound(part, text)
    assert part.taken <= most
    assert any(a <= at[0] and at[1] <= b for a, b in part.spans)
    moved = part.moved(at)
    assert moved is not None
    assert part.text(text)[slice(*moved)] == text[slice(*at)]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.data())
def test_pages_are_those_that_were_listed(lengths: list[int], data: st.DataObject) -> None:
    text = "".join(chr(97 + page) * length for page, length in enumerate(lengths))
    starts = [sum(lengths[:page]) for page in range(len(lengths))]
    wanted = data.draw(st.lists(st.integers(1, len(lengths)), min_size=1, unique=True))
    part = pages_part(starts, len(text), page_numbers(", ".join(map(str, wanted)), len(lengths)))
    sound(part, text)
    assert set(part.text(text).replace(GAP, "")) == {chr(96 + page) for page in wanted if lengths[page - 1]}


def test_a_list_of_pages_is_read_or_refused_in_a_sentence() -> None:
    assert page_numbers("3-5, 9; 4 , 1–2", 9) == (1, 2, 3, 4, 5, 9)
    for listed in ("", "x", "0", "3-10", "5-3", "1" * 9, ","):
        with pytest.raises(DocumentError, match="as in 3-7, 12"):
            page_numbers(listed, 9)
