"""The example documents that ship with the project, as the page offers them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sliminfer.assets import ASSETS
from sliminfer.documents import Document
from sliminfer.schedule.blocks import Span

FOLDER = ASSETS / "examples"


@dataclass(frozen=True)
class Suggestion:
    """A question, the answer to expect, the character spans that hold it, and what to look for."""

    question: str
    answer: str
    evidence: tuple[Span, ...]
    note: str = ""


@dataclass(frozen=True)
class Example:
    """An example document with its suggested questions."""

    id: str
    title: str
    path: Path
    suggestions: tuple[Suggestion, ...]
    description: str = ""

    def document(self) -> Document:
        """The document, read from its file."""
        text = self.path.read_text(encoding="utf-8")
        return Document(text=text, name=self.title, kind="text", encoding="utf-8", pages=None, characters=len(text))

    def suggestion(self, question: str) -> Suggestion | None:
        """The suggestion that asks `question`, if there is one."""
        wanted = " ".join(question.split())
        return next((s for s in self.suggestions if " ".join(s.question.split()) == wanted), None)


@cache
def examples() -> tuple[Example, ...]:
    """All examples in the order of `assets/examples/examples.json`."""
    listed = json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))
    return tuple(
        Example(
            id=Path(item["file"]).stem,
            title=item["title"],
            path=FOLDER / item["file"],
            suggestions=tuple(_suggestion(each) for each in item["questions"]),
            description=item["description"],
        )
        for item in listed
    )


def _suggestion(item: dict[str, Any]) -> Suggestion:
    start, end = item["evidence"]
    return Suggestion(item["question"], item["answer"], ((start, end),), item["note"])
