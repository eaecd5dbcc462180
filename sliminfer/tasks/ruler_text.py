"""What RULER's tasks are assembled from: pieces of text in order, and haystacks of a measured length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from sliminfer.tasks.filler import CountTokens, Filler, TaskError
from sliminfer.tasks.items import Span

NOISE = (
    "The tide comes in and the tide goes out.",
    "A clock ticks on the wall of an empty room.",
    "Somewhere a door is opened and closed again.",
    "The path leads up the hill and down the other side.",
)


@dataclass(frozen=True)
class Draft:
    """A document in pieces, each with whether it is evidence, a question and its answers."""

    pieces: tuple[tuple[str, bool], ...]
    question: str
    answers: tuple[str, ...]

    def document(self) -> tuple[str, tuple[Span, ...]]:
        """The text, and the character spans of the evidence without the white space around it."""
        parts: list[str] = []
        spans: list[Span] = []
        at = 0
        for text, is_evidence in self.pieces:
            if is_evidence:
                start = at + len(text) - len(text.lstrip())
                spans.append((start, at + len(text.rstrip())))
            parts.append(text)
            at += len(text)
        return "".join(parts), tuple(spans)


class Haystack:
    """Text to hide things in, measured in tokens."""

    def __init__(self, filler: Filler, count_tokens: CountTokens) -> None:
        self._filler, self._count = filler, count_tokens

    def tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all texts together."""
        return sum(self._count(list(texts)))

    def essay(self, rng: Random, tokens: int) -> list[str]:
        """Sentences of the filler text, of at most `tokens` tokens."""
        if tokens < 1:
            raise TaskError("The context leaves no room for any text: ask for a longer one.")
        return self._filler.window(rng, tokens)

    def noise(self, rng: Random, tokens: int) -> list[str]:
        """The same few sentences over and over."""
        return self.fill(lambda: " " + " ".join(NOISE), tokens)

    def fill(self, make: Callable[[], str], tokens: int) -> list[str]:
        """As many texts of `make` as `tokens` hold."""
        texts: list[str] = []
        left = tokens
        while left > 0:
            batch = [make() for _ in range(64)]
            for text, count in zip(batch, self._count(batch), strict=True):
                left -= count
                if left < 0:
                    break
                texts.append(text)
        return texts


def hide(rng: Random, straw: Sequence[str], hidden: Sequence[tuple[str, bool]]) -> tuple[tuple[str, bool], ...]:
    """The pieces of `hidden`, in their order, at random places between those of `straw`; never first."""
    places = sorted(rng.randrange(1, len(straw) + 1) for _ in hidden) if straw else [0] * len(hidden)
    pieces: list[tuple[str, bool]] = []
    waiting = list(zip(places, hidden, strict=True))
    for index in range(len(straw) + 1):
        while waiting and waiting[0][0] == index:
            pieces.append(waiting.pop(0)[1])
        if index < len(straw):
            pieces.append((straw[index], False))
    return tuple(pieces)
