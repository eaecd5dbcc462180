"""What an evaluation asks: one item at a time, from a suite that can be indexed in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sliminfer.model.chat import chat_template
from sliminfer.model.prompts import QUESTION_PREFIX, Prompt, build_prompt

Span = tuple[int, int]
Score = Callable[[str], float]


@dataclass(frozen=True)
class EvalItem:
    """One question about one document, and how a reply to it is scored.

    Attributes:
        suite, context, index: where it stands; together they name it.
        document, question: what the model reads.
        answers: the references, for the record.
        score: maps a reply to [0, 1].
        evidence: character spans of the document that hold the answer, where known.
        max_new_tokens: room for the reply.
        between: what stands between document and question in the prompt.
        chat: whether the chat template goes around both; otherwise the text alone, after the BOS token.
    """

    suite: str
    context: int
    index: int
    document: str
    question: str
    answers: tuple[str, ...]
    score: Score = field(compare=False, repr=False)
    evidence: tuple[Span, ...] = ()
    max_new_tokens: int = 32
    between: str = QUESTION_PREFIX
    chat: bool = True

    @property
    def key(self) -> str:
        """The item's name in files of finished examples."""
        return f"{self.suite}/{self.context}/{self.index}"

    def prompt(self, tokenizer: Any) -> Prompt:
        """The item's prompt for the model of `tokenizer`."""
        # Prompts trim the question; without a template nothing but the question itself can end in white space.
        end = self.question[len(self.question.rstrip()) :]
        template: tuple[str, ...] = chat_template(tokenizer) if self.chat else (tokenizer.bos_token or "", end)
        return build_prompt(tokenizer, self.document, self.question, self.between, template)


class EvalSuite(ABC):
    """A set of items; the same suite, context and index always give the same item.

    Attributes:
        name: as in `--suite` and in results.
    """

    name: str

    @abstractmethod
    def size(self, wanted: int) -> int:
        """How many items there are when `wanted` are asked for."""

    def why_not(self, context: int, index: int) -> str:
        """Why item `index` is left out at `context`, as half a sentence; nothing where it is asked."""
        return ""

    @abstractmethod
    def item(self, context: int, index: int) -> EvalItem:
        """Item `index`, prompt and answer together of at most about `context` tokens.

        Raises:
            TaskError: no such item can be made.
        """
