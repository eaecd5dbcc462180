"""Spans of a prompt that are kept or dropped whatever a method makes of them. Plain integers only."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sliminfer.errors import ConfigError

Span = tuple[int, int]


def _overlaps(some: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    """What spans of both have in common, in order."""
    mine, theirs = sorted(some), sorted(others)
    at = 0
    for start, end in mine:
        while at < len(theirs) and theirs[at][1] <= start:
            at += 1
        if at < len(theirs) and theirs[at][0] < end:
            yield max(start, theirs[at][0]), min(end, theirs[at][1])


@dataclass(frozen=True)
class Marks:
    """Half-open token spans of a prompt whose fate its caller settles beforehand, whatever they score.

    Attributes:
        keep: every block that touches one goes on at every step.
        drop: no block that touches one passes the first step, but for those that `keep`, the question or the prompt's
            last token needs.

    Raises:
        ConfigError: a span is none, or is to be kept and dropped.
    """

    keep: tuple[Span, ...] = ()
    drop: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        for name in ("keep", "drop"):
            try:
                spans = tuple((operator.index(start), operator.index(end)) for start, end in getattr(self, name))
            except (TypeError, ValueError) as error:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}: give pairs of the first token and the one after the last."
                ) from error
            for start, end in spans:
                if not 0 <= start < end:
                    raise ConfigError(f"{name} has the span {start} to {end}, which holds no token: give another.")
            object.__setattr__(self, name, spans)
        for start, end in _overlaps(self.keep, self.drop):
            raise ConfigError(f"Tokens {start} to {end} are to be kept and to be dropped: leave one of the two.")

    def check(self, tokens: int, question: Span | None = None) -> None:
        """Raise ConfigError where a span is outside a prompt of `tokens`, or what is to be dropped must stay."""
        for name, spans in (("keep", self.keep), ("drop", self.drop)):
            for start, end in spans:
                if end > tokens:
                    raise ConfigError(
                        f"{name} has the span {start} to {end}, which is not in the prompt of {tokens}: give spans "
                        "within it."
                    )
        for what, span in (("the question", question), ("the prompt's last token", (tokens - 1, tokens))):
            for start, end in _overlaps(self.drop, () if span is None else (span,)):
                raise ConfigError(f"Tokens {start} to {end} are of {what}, which always stays: drop something else.")


NO_MARKS = Marks()
