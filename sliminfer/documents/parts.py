"""Parts of a document that is too long to be read whole: which characters are taken, and the text that they make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sliminfer.errors import DocumentError

Span = tuple[int, int]

GAP = "\n[…]\n"  # where something was left out between two spans that were taken
MOST_PAGES_LISTED = 200  # ranges in a list of pages
_RANGE = re.compile(r"\s*(\d{1,6})\s*(?:[-–]\s*(\d{1,6})\s*)?")


@dataclass(frozen=True)
class Part:
    """What is taken of a text of `length` characters: sorted half-open spans, apart from each other."""

    spans: tuple[Span, ...]
    length: int

    def text(self, whole: str) -> str:
        """The text that is read."""
        return GAP.join(whole[start:end] for start, end in self.spans)

    def moved(self, span: Span) -> Span | None:
        """Where characters of the whole stand in `text`; None where they were not taken."""
        before = 0
        for start, end in self.spans:
            if start <= span[0] and span[1] <= end:
                return before + span[0] - start, before + span[1] - start
            before += end - start + len(GAP)
        return None

    @property
    def taken(self) -> int:
        """Characters that are taken."""
        return sum(end - start for start, end in self.spans)

    @property
    def left_out(self) -> tuple[Span, ...]:
        """The spans between and around."""
        edges = [0, *(edge for span in self.spans for edge in span), self.length]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return tuple((start, end) for start, end in pairs if start < end)


def first_part(text: str, most: int) -> Part:
    """The beginning: at most `most` characters, to the end of a line or a sentence."""
    return Part(_some((0, _cut_back(text, min(most, len(text)), 0))), len(text))


def last_part(text: str, most: int) -> Part:
    """The end: at most `most` characters, from the beginning of a line or a sentence."""
    return Part(_some((_cut_ahead(text, max(0, len(text) - most), len(text)), len(text))), len(text))


def part_around(text: str, at: Span, most: int) -> Part:
    """At most `most` characters around the characters `at`, which are in the middle where the text allows."""
    spare = max(0, most - (at[1] - at[0]))
    start = max(0, min(at[0] - spare // 2, len(text) - most))
    end = min(len(text), start + most)
    opens = _cut_ahead(text, start, at[0]) if start else 0
    return Part(_some((opens, max(at[1], _cut_back(text, end, at[1])))), len(text))


def pages_part(starts: Sequence[int], length: int, wanted: Sequence[int]) -> Part:
    """Pages by their numbers from 1, in the document's order; `starts` is where each begins."""
    ends = [*starts[1:], length]
    spans: list[Span] = []
    for page in sorted(set(wanted)):
        start, end = starts[page - 1], ends[page - 1]
        if spans and spans[-1][1] == start:
            spans[-1] = spans[-1][0], end
        elif start < end:
            spans.append((start, end))
    return Part(tuple(spans), length)


def page_numbers(listed: str, pages: int) -> tuple[int, ...]:
    """The pages in a list such as "3-7, 12"; raises DocumentError for what is none, or lists no page there is."""
    pieces = [piece for piece in re.split(r"[,;]", listed) if piece.strip()]
    if not pieces or len(pieces) > MOST_PAGES_LISTED:
        raise DocumentError(f"No pages are chosen: write them as in 3-7, 12, from 1 to {pages:,}.")
    found: set[int] = set()
    for piece in pieces:
        match = _RANGE.fullmatch(piece)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= pages:
            raise DocumentError(f"{piece.strip()[:40]!r} is no page of 1 to {pages:,}: write pages as in 3-7, 12.")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def _some(span: Span) -> tuple[Span, ...]:
    return (span,) if span[0] < span[1] else ()


def _cut_back(text: str, end: int, least: int) -> int:
    """The last good place to stop at or before `end`, not before the middle between `least` and `end`."""
    if end >= len(text):
        return len(text)
    floor = least + (end - least) // 2
    for mark in ("\n", ". ", " "):
        at = text.rfind(mark, floor, end)
        if at >= 0:
            return at + len(mark.rstrip(" ")) if mark != " " else at
    return end


def _cut_ahead(text: str, start: int, most: int) -> int:
    """The first good place to begin at or after `start`, not after the middle between `start` and `most`."""
    if start <= 0:
        return 0
    ceiling = start + (most - start) // 2
    for mark in ("\n", ". ", " "):
        at = text.find(mark, start, ceiling)
        if at >= 0:
            return at + len(mark)
    return start
