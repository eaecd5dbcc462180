"""What results belong to, and the line that says so once something else is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sliminfer.documents import Document
from viz.figures.words import escape, percent
from viz.page.hands import NO_HANDS, Hands
from viz.page.model_picker import title_of
from viz.page.setup import Setup

LONGEST_QUOTE = 120  # characters of a question


@dataclass(frozen=True)
class Subject:
    """A document and what was asked of it.

    Attributes:
        document: None where there was none.
        setup: question, model, pruning and the finer settings.
        hands: what was to be kept and dropped whatever it scores.
        opened: for results from a file, a sentence on where they come from; nothing on the page is what they belong to.
    """

    document: Document | None
    setup: Setup
    hands: Hands = NO_HANDS
    opened: str = ""

    @property
    def line(self) -> str:
        """The sentence of `opened` as HTML."""
        return f'<p class="opened" role="status">{escape(self.opened)}</p>'


def same(one: Subject, other: Subject) -> bool:
    """Whether both would give the same results: how often a run is repeated is no matter."""
    alike = one.document == other.document and one.hands == other.hands and one.opened == other.opened
    return alike and _bare(one.setup) == _bare(other.setup)


def notes(belongs: Mapping[str, Subject], now: Subject | None) -> dict[str, str]:
    """A line for each of the results that `belongs` lists, as HTML; empty where they belong to `now`.

    `now` is None where what is chosen makes no sense.
    """
    return {name: "" if now is not None and same(of, now) else note(of, now) for name, of in belongs.items()}


def note(of: Subject, now: Subject | None) -> str:
    """The line about results of `of` while `now` is chosen."""
    if of.opened:
        return of.line
    question = " ".join(of.setup.question.split())
    shown = question if len(question) <= LONGEST_QUOTE else question[:LONGEST_QUOTE] + " …"
    name = "a document" if of.document is None else of.document.name
    details = "; ".join(_details(of, now))
    return (
        f'<p class="belongs" role="status">What you see belongs to <b>“{escape(shown)}”</b> on <b>{escape(name)}</b>'
        f"{escape(f' ({details})' if details else '')}. Run again for what is chosen now.</p>"
    )


def _details(of: Subject, now: Subject | None) -> list[str]:
    """What else was other than it is now: model, pruning, the finer settings."""
    if now is None:
        return [schedule(of.setup)]
    told = []
    if of.setup.model != now.setup.model:
        told.append(title_of(of.setup.model))
    if of.setup.steps != now.setup.steps:
        told.append(schedule(of.setup))
    apart = {"model": "", "question": "", "example": "", "steps": ()}
    if replace(_bare(of.setup), **apart) != replace(_bare(now.setup), **apart):  # type: ignore[arg-type]
        told.append("other settings")
    if of.hands != now.hands:
        told.append("other passages kept or dropped by hand")
    return told


def schedule(setup: Setup) -> str:
    """The prune steps in words."""
    steps = (
        f"{percent(step.keep) if isinstance(step.keep, float) else f'{step.keep:,} tokens'} from layer {step.layer} on"
        for step in setup.steps
    )
    return ", ".join(steps) or "no prune step"


def _bare(setup: Setup) -> Setup:
    return replace(setup, repeats=1, example="")
