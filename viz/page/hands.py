"""What a visitor settled by hand: passages of the document that are always kept, or always dropped."""

from __future__ import annotations

from dataclasses import dataclass

from sliminfer.schedule.blocks import Span


@dataclass(frozen=True)
class Hands:
    """Character spans of the document, sorted and apart; what is in neither is left to the method.

    Attributes:
        keep, drop: half-open spans that no prune step drops, and that pass none.
    """

    keep: tuple[Span, ...] = ()
    drop: tuple[Span, ...] = ()

    @property
    def words(self) -> str:
        """How much is settled, to stand behind a schedule; empty for nothing."""
        told = [f"{len(spans)} {name}" for name, spans in (("kept", self.keep), ("dropped", self.drop)) if spans]
        return f", by hand {' and '.join(told)}" if told else ""

    def keeping(self, span: Span) -> Hands:
        """The same with `span` kept, whatever was said of it before."""
        return Hands(joined((*self.keep, span)), without(self.drop, span))

    def dropping(self, span: Span) -> Hands:
        """The same with `span` dropped, whatever was said of it before."""
        return Hands(without(self.keep, span), joined((*self.drop, span)))

    def freed(self, span: Span) -> Hands:
        """The same with nothing said of `span`."""
        return Hands(without(self.keep, span), without(self.drop, span))

    def turned(self, span: Span, went_on: bool) -> Hands:
        """The same after a click on `span`: what was settled is freed, what `went_on` is dropped, the rest kept."""
        if any(touch(span, other) for other in (*self.keep, *self.drop)):
            return self.freed(span)
        return self.dropping(span) if went_on else self.keeping(span)


NO_HANDS = Hands()


def touch(one: Span, other: Span) -> bool:
    """Whether two spans have something in common."""
    return one[0] < other[1] and other[0] < one[1]


def joined(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """The same characters as sorted spans with gaps between them."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return tuple(found)


def without(spans: tuple[Span, ...], gone: Span) -> tuple[Span, ...]:
    """What is left of `spans` once `gone` is taken out."""
    pieces = ((a, b) for start, end in spans for a, b in ((start, min(end, gone[0])), (max(start, gone[1]), end)))
    return tuple((start, end) for start, end in pieces if start < end)
