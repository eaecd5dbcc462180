"""The example documents that ship with the project, as the page offers them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sliminfer.blocks import Span
from sliminfer.documents import Document

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "examples"


@dataclass(frozen=True)
class Suggestion:
    """A question with the answer to expect and the character spans that hold it."""

    question: str
    answer: str
    evidence: tuple[Span, ...]


@dataclass(frozen=True)
class Example:
    """An example document with its suggested questions."""

    id: str
    title: str
    path: Path
    suggestions: tuple[Suggestion, ...]

    def document(self) -> Document:
        """The document, read from its file."""
        text = self.path.read_text(encoding="utf-8")
        return Document(text=text, name=self.title, kind="text", encoding="utf-8", pages=None, characters=len(text))

    def evidence_of(self, question: str) -> tuple[Span, ...]:
        """Where the answer to `question` stands, if it is one of the suggestions."""
        wanted = " ".join(question.split())
        return next((s.evidence for s in self.suggestions if s.question == wanted), ())


@cache
def examples() -> tuple[Example, ...]:
    """All examples in the order of `assets/examples/examples.json`."""
    index = json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))
    return tuple(
        Example(
            id=item["id"],
            title=item["title"],
            path=FOLDER / item["file"],
            suggestions=tuple(
                Suggestion(q["question"], q["answer"], tuple((a, b) for a, b in q["evidence"]))
                for q in item["questions"]
            ),
        )
        for item in index["examples"]
    )
