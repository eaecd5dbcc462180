"""Whatever the bytes are, the answer is a clean `Document` or a `DocumentError`."""

import random
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.documents import Document, DocumentLimits, parse_document
from sliminfer.errors import DocumentError
from tests.documents import files
from tests.documents.mutate import mutate

SEEDS = files.one_of_each()
NAMES = st.one_of(st.sampled_from(sorted(SEEDS)), st.text(max_size=12))
LIMITS = DocumentLimits(max_characters=200_000, max_expanded_bytes=1 << 22)
# Everything but control characters and lone surrogates, which no document may hold.
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\n\t"), min_size=1, max_size=300)


def check(data: bytes, name: str) -> Document | None:
    try:
        document = parse_document(data, name, LIMITS)
    except DocumentError:
        return None
    bad = [c for c in document.text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert not bad
    assert document.text.strip()
    assert document.characters == len(document.text)
    document.text.encode()
    return document


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=600), NAMES)
def test_random_bytes(data: bytes, name: str) -> None:
    check(data, name)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(SEEDS)), st.integers(0, 2**32))
def test_damaged_files(name: str, seed: int) -> None:
    check(mutate(SEEDS[name], random.Random(seed)), name)


@settings(max_examples=300, deadline=None)
@given(TEXT.filter(str.strip))
def test_utf8_text_round_trips(text: str) -> None:
    document = check(text.encode("utf-8-sig"), "a.txt")
    # A second mark at the start is a character of the text only if the file has two.
    assert document is not None
    assert document.text == text.removeprefix("\ufeff")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=20))
def test_random_markup(pieces: list[str]) -> None:
    tags = ("<p>", "</p>", "<!--", "-->", "<![", "]]>", "<pre>", "<br/>", "<script>", "&#x0;", "&#xd800;", "<td", "<?")
    page = "".join(piece + tags[len(piece) % len(tags)] for piece in pieces)
    check(page.encode("utf-8", "ignore"), "a.html")
