"""Our own questions about real, freely licensed documents, read whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sliminfer.assets import ASSETS
from sliminfer.model.prompts import QUESTION_PREFIX
from sliminfer.tasks.filler import TaskError
from sliminfer.tasks.items import EvalItem, EvalSuite, Span
from sliminfer.tasks.longbench import read_rows
from sliminfer.tasks.middle import TEMPLATE_ROOM
from sliminfer.tasks.real_documents import DOCUMENTS, RealDocument, digest
from sliminfer.tasks.scoring import parts_found

QUESTIONS = ASSETS / "suites" / "real.jsonl"
FOLDER = "real"
_FETCH = "fetch it with: python benchmarks/real_documents.py"
_ROOM = 64


@dataclass(frozen=True)
class Quote:
    """Words of a document, and the character that they begin at."""

    text: str
    at: int

    @property
    def span(self) -> Span:
        return self.at, self.at + len(self.text)


@dataclass(frozen=True)
class RealQuestion:
    """A question about one document.

    Attributes:
        document: name of its document.
        question: what is asked.
        answers: the parts of the answer, all of which are wanted; each as one or more wordings, any of which is right.
        evidence: where the document says it: one quote or, in a question that needs two places, one of each.
    """

    document: str
    question: str
    answers: tuple[tuple[str, ...], ...]
    evidence: tuple[Quote, ...]


class RealSuite(EvalSuite):
    """The questions of `assets/suites/real.jsonl` about the documents in `<folder>/real`.

    A document is read whole or, where it is longer than the context, not at all. The same index names the same
    question whatever documents are at hand. Documents take turns, so that a beginning of the list is a fair sample.
    """

    name = FOLDER

    def __init__(
        self,
        data: Path,
        tokenizer: Any,
        documents: tuple[RealDocument, ...] = DOCUMENTS,
        questions: Path = QUESTIONS,
    ) -> None:
        self._data = data
        self._tokenizer = tokenizer
        self._questions = in_turns(read_questions(questions))
        self._texts = {each.name: text for each in documents if (text := read_document(data / FOLDER, each))}
        self._tokens: dict[str, int] = {}
        if not self._texts:
            raise TaskError(f"{data / FOLDER} holds none of the documents: {_FETCH} {data}")
        for question in self._questions:
            if question.document in self._texts:
                check_evidence(question, self._texts[question.document])

    def size(self, wanted: int) -> int:
        return min(wanted, len(self._questions))

    def why_not(self, context: int, index: int) -> str:
        question = self._questions[index]
        if question.document not in self._texts:
            return f"the document is not in {self._data / FOLDER}, {_FETCH} {self._data}"
        asked = self._count(QUESTION_PREFIX + question.question)
        needed = self._length(question.document) + asked + _ROOM + TEMPLATE_ROOM
        return "the document is longer than the context" if needed > context else ""

    def item(self, context: int, index: int) -> EvalItem:
        question = self._questions[index]
        fault = self.why_not(context, index)
        if fault:
            raise TaskError(f"Question {index} of {self.name} cannot be asked at {context:,} tokens: {fault}.")
        return EvalItem(
            suite=self.name,
            context=context,
            index=index,
            document=self._texts[question.document],
            question=question.question,
            answers=tuple(wordings[0] for wordings in question.answers),
            score=partial(parts_found, parts=question.answers),
            evidence=tuple(quote.span for quote in question.evidence),
            max_new_tokens=_ROOM,
        )

    def _length(self, name: str) -> int:
        if name not in self._tokens:
            self._tokens[name] = self._count(self._texts[name])
        return self._tokens[name]

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def read_questions(path: Path) -> tuple[RealQuestion, ...]:
    """The questions of a file: {"document", "question", "answers": [[wording, ...], ...],
    "evidence": [{"quote", "at"}, ...]} a line.

    Raises:
        TaskError: no such file, or a line that is no question.
    """
    rows = read_rows(path, "take it from the project", ("document", "question", "answers", "evidence"))
    questions = []
    for number, row in enumerate(rows, start=1):
        try:
            answers = tuple(tuple(str(wording) for wording in wordings) for wordings in row["answers"])
            evidence = tuple(Quote(quote["quote"], int(quote["at"])) for quote in row["evidence"])
        except (TypeError, KeyError, ValueError) as error:
            raise TaskError(f"Record {number} of {path} has answers or evidence of another form ({error}).") from error
        questions.append(RealQuestion(row["document"], row["question"], answers, evidence))
    return tuple(questions)


def in_turns(questions: tuple[RealQuestion, ...]) -> tuple[RealQuestion, ...]:
    """The first question about each document, then the second about each, and so on."""
    turn: Counter[str] = Counter()
    places = []
    for question in questions:
        places.append(turn[question.document])
        turn[question.document] += 1
    return tuple(question for _, question in sorted(zip(places, questions, strict=True), key=lambda each: each[0]))


def read_document(folder: Path, document: RealDocument) -> str:
    """The document's text without its last line end; nothing where it is not in `folder`.

    Raises:
        TaskError: it is another text than the questions are about.
    """
    path = folder / f"{document.name}.txt"
    if not path.is_file():
        return ""
    text = path.read_bytes().decode("utf-8", errors="replace")
    if digest(text) != document.sha256:
        raise TaskError(f"{path} is not the text that the questions are about: remove it and {_FETCH} {folder.parent}")
    return text.rstrip("\n")


def check_evidence(question: RealQuestion, text: str) -> None:
    """See that every quote stands where the question says.

    Raises:
        TaskError: it does not, with the place where it does.
    """
    for quote in question.evidence:
        if text[slice(*quote.span)] != quote.text:
            found = text.find(quote.text)
            where = f"but at {found}" if found >= 0 else "nor anywhere else"
            raise TaskError(f"{quote.text!r} is not at character {quote.at} of {question.document}, {where}.")
