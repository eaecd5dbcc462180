"""Questions that a visitor's own text answers, made of its own sentences; none where that is not sure to make sense.

Two forms of an English sentence are taken, and only where the text says what they ask once: "The <things> is <name or
number>." and "The <thing> was <opened> ... in <year>."
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sliminfer.schedule.blocks import Span

MOST = 4
READ = 200_000  # characters; enough to find a few
_SUBJECT = r"The (?P<subject>[a-z][\w'’-]*(?: (?:of|for|the|to|in|at|on|and)?(?: ?[\w'’-]+)){0,6}?)"
_END = r"(?=[.](?:\s|$))"
_VALUE = re.compile(
    rf"(?<![\w,;:] ){_SUBJECT} (?P<verb>is|was|are|were) "
    rf"(?P<value>(?:\d(?:[\w.,:/-]*\w)?|[A-Z][\w'’-]*\w)(?: \w(?:[\w.,:/'’-]*\w)?){{0,4}}?){_END}"
)
_YEAR = re.compile(
    rf"(?<![\w,;:] ){_SUBJECT} (?P<verb>was|were) "
    rf"(?P<done>built|opened|founded|published|written|signed|closed|launched|released|adopted|completed|established) "
    rf"(?:[\w'’-]+ ){{0,6}}?in (?:[A-Z][a-z]+ )?(?P<value>1[5-9]\d\d|20\d\d){_END}"
)
# A subject with one of these is half of a sentence, or leans on one before it.
_LOOSE = re.compile(
    r"\b(?:is|was|are|were|be|been|has|have|had|that|which|who|whom|whose|where|when|if|but|or|it|he|she|they|we|you|i|"
    r"this|these|those|other|others|only|first|last|same|latter|former|following|result|reason|rest|one|ones|next|"
    r"previous|above|below|problem|idea|point|question|answer|difference|example|thing)\b",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(r"\b(?:of|for|the|to|in|at|on|and|by|with|a|an)$", re.IGNORECASE)


@dataclass(frozen=True)
class Proposal:
    """A question and the characters of the sentence that answers it."""

    question: str
    evidence: Span


def propose(text: str) -> tuple[Proposal, ...]:
    """Up to `MOST` questions, spread over the text; always the same for the same text."""
    found = sorted(_questions(text[:READ]), key=lambda each: each.evidence)
    times = Counter(each.question.casefold() for each in found)
    unique = [each for each in found if times[each.question.casefold()] == 1]
    if len(unique) <= MOST:
        return tuple(unique)
    return tuple(unique[index * (len(unique) - 1) // (MOST - 1)] for index in range(MOST))


def place_of(question: str, text: str) -> tuple[Span, ...]:
    """Where the text answers one of its proposed questions; nothing for any other question."""
    return tuple(each.evidence for each in propose(text) if each.question == " ".join(question.split()))


def _questions(text: str) -> Iterator[Proposal]:
    # Line breaks within a paragraph are spaces here; one character each, so that places stay.
    flat = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    for match in _VALUE.finditer(flat):
        if _is_whole(match["subject"]):
            yield Proposal(f"What {match['verb']} the {match['subject']}?", match.span())
    for match in _YEAR.finditer(flat):
        if _is_whole(match["subject"]):
            yield Proposal(f"When {match['verb']} the {match['subject']} {match['done']}?", match.span())


def _is_whole(subject: str) -> bool:
    return len(subject) > 3 and not _LOOSE.search(subject) and not _LAST_WORD.search(subject)
