"""A needle in a text of its own making: the same seed gives the same text, whatever else changes in the project."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_WHO = ("The baker", "A young clerk", "The old captain", "My neighbour", "The teacher", "A traveller", "The gardener")
_DID = ("walked along", "painted", "remembered", "talked about", "looked after", "wrote a letter about", "waited near")
_WHAT = ("the harbour", "the long bridge", "a quiet garden", "the railway station", "the market", "an empty field")
_WHEN = ("in the morning", "before lunch", "on a rainy day", "after the concert", "for the whole winter", "at noon")
_OWNERS = ("Anna", "Boris", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Irene", "Jonas")
_THINGS = ("locker", "bicycle", "suitcase", "garage", "piano", "boat", "office", "telescope")


@dataclass(frozen=True)
class Needle:
    """A text, a question about one sentence of it, the answer, and that sentence's character span."""

    document: str
    question: str
    answer: str
    evidence: tuple[int, int]


def needle(seed: int, sentences: int) -> Needle:
    """The needle of `seed` among `sentences` sentences of about 12 tokens each."""
    draw = Random(seed)
    hay = [
        f"{draw.choice(_WHO)} {draw.choice(_DID)} {draw.choice(_WHAT)} {draw.choice(_WHEN)}." for _ in range(sentences)
    ]
    owner, thing, code = draw.choice(_OWNERS), draw.choice(_THINGS), str(draw.randrange(1000, 10000))
    statement = f"The code of {owner}'s {thing} is {code}."
    place = draw.randrange(sentences // 10, sentences * 9 // 10)
    before = " ".join(hay[:place]) + " "
    document = f"{before}{statement} {' '.join(hay[place:])}"
    return Needle(
        document, f"What is the code of {owner}'s {thing}?", code, (len(before), len(before) + len(statement))
    )
