"""A conversation about one document: what was asked, what was answered, and what each turn kept and cost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sliminfer.documents import Document
from sliminfer.engine.questions import DocumentRead
from sliminfer.schedule.config import SlimConfig
from viz.figures.kept_map import KeptMap
from viz.page.hands import NO_HANDS, Hands

MOST_TURNS = 12  # each is part of the prompts of all that follow


@dataclass(frozen=True)
class Turn:
    """One question with its answer.

    Attributes:
        ttft_s: seconds to the first token, without what was read before it.
        read: what was read for it; None where an earlier turn's reading served, or none could.
        kept: which tokens of the prompt went on where.
    """

    question: str
    answer: str
    ttft_s: float
    read: DocumentRead | None
    kept: KeptMap = field(repr=False)


@dataclass(frozen=True)
class Talk:
    """The turns so far, and what they are about: another document, model or pruning begins another conversation.

    Attributes:
        full_bytes: of the keys and values of the whole document under the full model.
    """

    document: Document | None = None
    model: str = ""
    config: SlimConfig | None = None
    hands: Hands = NO_HANDS
    full_bytes: int = 0
    turns: tuple[Turn, ...] = ()

    def about(self, document: Document | None, model: str, config: SlimConfig, hands: Hands) -> Talk:
        """This conversation, if it is about just that, else a new one."""
        new = Talk(document, model, config, hands)
        return self if self.turns and replace(self, full_bytes=0, turns=()) == new else new

    def after(self, turn: Turn, full_bytes: int) -> Talk:
        """The conversation once `turn` has been answered."""
        return replace(self, full_bytes=full_bytes, turns=(*self.turns, turn))

    @property
    def history(self) -> tuple[tuple[str, str], ...]:
        """Questions and answers, oldest first."""
        return tuple((turn.question, turn.answer) for turn in self.turns)

    @property
    def reading(self) -> DocumentRead | None:
        """What was read last, which the next question needs not read again."""
        return next((turn.read for turn in reversed(self.turns) if turn.read is not None), None)
