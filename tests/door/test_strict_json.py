"""JSON as its standard has it; halves of characters are mended, since a paste may hold them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.work import assert_near_linear
from viz.door.strict_json import DEEPEST, MOST_VALUES, BadJSONError, parse

FINE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(FINE)
def test_what_json_can_hold_comes_through(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.text(st.characters(codec=None), max_size=20))
def test_texts_come_out_as_whole_characters(text: str) -> None:
    [mended] = parse(json.dumps([text]).encode())
    mended.encode()
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    assert mended.replace("\ufffd", "") == whole.replace("\ufffd", "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e999]", "too large"),
        (b"[9223372036854775808]", "64 bits"),
        (b"[" + b"9" * 5000 + b"]", "no JSON"),
        (b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2), "too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "too deeply"),
        (b"[" + b"0," * MOST_VALUES + b"0]", "more than 50,000 values"),
        (b'{"\\ud800": 1}', "half a character"),
    ],
)
def test_what_is_not_taken_is_told_in_a_sentence(body: bytes, words: str) -> None:
    with pytest.raises(BadJSONError, match=words) as caught:
        parse(body)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("unit", [b"0,", b'"a",', b"[],", b'"\\ud800",', b'{"a":1},'])
def test_the_work_grows_with_the_body(unit: bytes) -> None:
    assert_near_linear(lambda n: b"[" + unit * (n // len(unit)) + b"0]", parse, 4_000, 20_000)
