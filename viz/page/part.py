"""Taking a part of a document: cut to what can be read, as a document of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sliminfer.documents import Document
from sliminfer.documents.parts import Part, Span, first_part, last_part, page_numbers, pages_part, part_around
from sliminfer.errors import ConfigError
from viz.page.passage import find_passage

Count = Callable[[str], int]  # tokens of a prompt on a text

WHOLE, FIRST, LAST, AROUND, PAGES = "whole", "first", "last", "around", "pages"
TRIES = 6  # how often a part is cut shorter until it fits: characters a token differ along a text
_NAMES = {FIRST: "first part", LAST: "last part", AROUND: "part around words"}
RESERVE = 48  # tokens left for the question and the template


@dataclass(frozen=True)
class Taken:
    """A part of a document that was taken, as a document of its own.

    Attributes:
        whole: the document it is of, and `tokens` that one's length.
        part: what of it was taken.
        document: what is read.
        how: one of the choices.
    """

    whole: Document
    tokens: int
    part: Part
    document: Document
    how: str


def take(count: Count, whole: Document, tokens: int, room: int, how: str, words: str) -> Taken:
    """The part of `whole` that is asked for, cut to what `room` tokens hold.

    Raises SlimError where the words are not in it, or the pages do not exist or are too many.
    """
    if how == WHOLE and tokens <= room:
        everything = Part(((0, len(whole.text)),), len(whole.text))
        return Taken(whole, tokens, everything, whole, WHOLE)
    if how == PAGES:
        numbers = page_numbers(words, len(whole.page_starts))
        part = pages_part(whole.page_starts, len(whole.text), numbers)
        text = part.text(whole.text)
        read, blank = count(text), not text.strip()
        if blank or read > room:
            why = "hold no text" if blank else f"have {read:,} tokens, and {room:,} can be read"
            raise ConfigError(f"Pages {words.strip()[:80]} {why}: choose other pages.")
        return _named(whole, tokens, part, how, f"pages {words.strip()[:40]}")
    if room <= RESERVE:
        raise ConfigError(
            f"The model has room for {max(0, room):,} tokens of the text beside the question and the answer: ask for a "
            "shorter answer, or choose a model that reads more."
        )
    at = _place(whole.text, words) if how == AROUND else (0, 0)
    most = round(len(whole.text) * min(1.0, (room - RESERVE) / max(1, tokens)))
    for _ in range(TRIES):
        part = _cut(whole.text, most, how, at)
        read = count(part.text(whole.text))
        if read <= room - RESERVE:
            break
        most = round(0.98 * most * (room - RESERVE) / read)
    return _named(whole, tokens, part, how if how != WHOLE else FIRST, _NAMES.get(how, "first part"))


def _place(text: str, words: str) -> Span:
    """Where the words stand that a part is around; in a long text this takes longer than all the cutting."""
    if not words.strip():
        raise ConfigError("No words are given: type some that stand in the part you want.")
    return find_passage(text, words, ())


def _cut(text: str, most: int, how: str, at: Span) -> Part:
    if how == LAST:
        return last_part(text, most)
    return part_around(text, at, most) if how == AROUND else first_part(text, most)


def _named(whole: Document, tokens: int, part: Part, how: str, name: str) -> Taken:
    text = part.text(whole.text)
    document = replace(whole, text=text, name=f"{whole.name}, {name}", characters=len(text), page_starts=())
    return Taken(whole, tokens, part, document, how)


def or_first(count: Count, whole: Document, tokens: int, room: int) -> Taken:
    """The whole document, or where it is too long as much of its beginning as is read."""
    return take(count, whole, tokens, room, WHOLE if tokens <= room else FIRST, "")
