"""The runs of a visitor so far, as far as they are worth comparing."""

from __future__ import annotations

from dataclasses import dataclass, field

from sliminfer.documents import Document
from viz.figures.kept_map import KeptMap
from viz.page.subject import Subject

MOST = 12  # runs that are remembered, the latest ones


@dataclass(frozen=True)
class Past:
    """A run that both sides finished.

    Attributes:
        number: counts the visitor's runs from 1.
        subject: document, question, setup and what was settled by hand.
        flops, kv: arithmetic and prompt KV of the full side over those of the pruned one.
        agreement: share of the full answer's tokens that the pruned answer has at the same place.
        text: the pruned answer, `full` the full one.
        kept: what went on where.
    """

    number: int
    subject: Subject
    flops: float
    kv: float
    agreement: float
    text: str
    full: str
    kept: KeptMap = field(repr=False)

    @property
    def label(self) -> str:
        """What to call it in a list."""
        return f"Run {self.number}: {self.flops:.1f}× less arithmetic, {self.agreement:.0%} agreement"


def remembered(history: tuple[Past, ...], new: Past) -> tuple[Past, ...]:
    """`history` with `new` as its last, without the oldest of too many."""
    return (*history, new)[-MOST:]


def about(history: tuple[Past, ...], document: Document | None) -> tuple[Past, ...]:
    """Those on `document`."""
    return tuple(past for past in history if past.subject.document == document)


def comparable(one: Past, other: Past) -> bool:
    """Whether what both kept can be laid over each other: the same prompt on the same model."""
    same = one.subject.document == other.subject.document and one.kept.tokens == other.kept.tokens
    alike = one.subject.setup.model == other.subject.setup.model and one.kept.layers == other.kept.layers
    return same and alike and one.subject.setup.question.split() == other.subject.setup.question.split()
