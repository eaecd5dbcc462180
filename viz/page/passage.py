"""Finding a passage that a visitor names in their document, in time linear in both."""

from __future__ import annotations

import re

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import Span

LONGEST_PASSAGE = 4_000  # characters: a page of text, and a bound on what a caller may have searched for
_WORD = re.compile(r"\S+")


def find_passage(text: str, phrase: str, evidence: tuple[Span, ...], picked: Span | None = None) -> Span:
    """Characters of `text` that `phrase` stands for: the evidence where it is empty, else its first place.

    A place that was `picked` goes before the first one if `phrase` still stands there. White space and case need not
    agree. Raises ConfigError where there is no such passage, or where it is too long.
    """
    if len(phrase) > LONGEST_PASSAGE:
        raise ConfigError(
            f"The passage has {len(phrase):,} characters, and up to {LONGEST_PASSAGE:,} are searched for: "
            "choose a shorter one."
        )
    words = phrase.split()
    if words and picked is not None and text[slice(*picked)].split() == words:
        return picked
    if not words:
        if not evidence:
            raise ConfigError("No passage is chosen: type some of the document's words, or take a suggested question.")
        return evidence[0]
    found = first_place(text, words)
    if found is None:
        raise ConfigError("The passage is not in the document: copy some of its words exactly.")
    return found


def first_place(text: str, words: list[str]) -> Span | None:
    """Where `words` first stand in `text`, with any white space between them and in any case.

    Both are written with one space between two words and in one case, where a plain search finds them: a regular
    expression would try every start anew, and hold the interpreter meanwhile.
    """
    parts = [(match.start(), match.group()) for match in _WORD.finditer(text)]
    wanted = folded(" ".join(words))
    at = folded(" ".join(part for _, part in parts)).find(wanted)
    if at < 0:
        return None
    end, squeezed = at + len(wanted), 0
    first = last = 0
    for start, part in parts:
        if squeezed <= at:
            first = start + at - squeezed
        last = start + min(end - squeezed, len(part))
        squeezed += len(part) + 1
        if squeezed > end:
            break
    return first, last


def folded(text: str) -> str:
    """`text` in one case, character by character, so that every character keeps its place."""
    return text.translate({ord(character): _folded(character) for character in set(text)})


def _folded(character: str) -> str:
    options = character.casefold(), character.lower()
    return next((option for option in options if len(option) == 1), character)
