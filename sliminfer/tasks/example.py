"""One question about one document, with the place of the evidence."""

from dataclasses import dataclass
from typing import Literal

from sliminfer.tasks.prompt import plain_prompt

Suite = Literal["needle", "multikey", "multivalue", "quote", "tracking", "multikey16"]
SUITES: tuple[Suite, ...] = ("needle", "multikey", "multivalue", "quote", "tracking", "multikey16")


@dataclass(frozen=True)
class Example:
    """A generated task.

    `answers` are all expected, in the order of the document. `evidence` holds character spans [start, end) of
    `document`, ascending, one for each statement (or passage) that the answer needs.
    """

    suite: Suite
    document: str
    question: str
    answers: tuple[str, ...]
    evidence: tuple[tuple[int, int], ...]

    @property
    def prompt(self) -> str:
        """The plain prompt, up to and including `Answer:`."""
        return plain_prompt(self.document, self.question)

    @property
    def target(self) -> str:
        """What the demo model is trained to write after the prompt, from the leading space on."""
        return " " + (self.answers[0] if self.suite == "quote" else ", ".join(self.answers) + ".")
