"""From document and question to token ids through the model's chat template, with every token's place
in the text, so that what happens to a token can be drawn on the document itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sliminfer.model.chat import chat_template
from sliminfer.schedule.blocks import Span

QUESTION_PREFIX = "\n\nQuestion: "


@dataclass(frozen=True)
class Prompt:
    """A prompt of N tokens and where each of them comes from.

    Attributes:
        ids: token ids [N].
        text: the prompt as one string, template and all.
        spans: half-open character range of each token in `text` [N]; empty ranges for added tokens.
        document: character range of the document in `text`.
        question: token range of the question (with what the template puts after it).
    """

    ids: tuple[int, ...]
    text: str
    spans: tuple[Span, ...]
    document: Span
    question: Span

    @classmethod
    def of_ids(cls, ids: Sequence[int], question_tokens: int) -> Prompt:
        """A prompt of bare token ids with no text behind them, the last `question_tokens` of which ask."""
        tokens = len(ids)
        return cls(tuple(ids), "", ((0, 0),) * tokens, (0, 0), (max(0, tokens - question_tokens), tokens))

    def __len__(self) -> int:
        return len(self.ids)

    def token_range(self, start: int, end: int) -> Span:
        """Token range that covers characters [start, end) of the *document*; raises ValueError if empty."""
        low, high = self.document[0] + start, self.document[0] + end
        touched = [i for i, (a, b) in enumerate(self.spans) if a < high and b > low]
        if not touched:
            raise ValueError(f"no token covers characters {start} to {end} of the document")
        return touched[0], touched[-1] + 1

    def document_spans(self) -> list[Span | None]:
        """Each token's character range in the document [N]; None for tokens outside it."""
        low, high = self.document
        return [(max(a, low) - low, min(b, high) - low) if a < high and b > low else None for a, b in self.spans]


def build_prompt(
    tokenizer: Any,
    document: str,
    question: str,
    between: str = QUESTION_PREFIX,
    template: Sequence[str] | None = None,
    thinking: bool = False,
) -> Prompt:
    """The chat prompt that asks `question` about `document`, in the form
    `{document}\\n\\nQuestion: {question}` as the user's one message.

    `tokenizer` is a fast transformers tokenizer. A benchmark with a prompt of its own gives what stands
    `between` document and question, and what comes before and after both in place of the chat `template`
    (see `chat_template`, also for `thinking`); where a template prints the message twice, document and question
    are those of the last time. Special-token strings inside the document or the question are encoded as plain
    text, so a document cannot forge a chat turn.

    Raises:
        ModelError: the tokenizer's chat template does not print the message.
    """
    around = chat_template(tokenizer, thinking) if template is None else template
    document = document.rstrip()
    body = f"{document}{between}{question.strip()}"
    pieces = [(around[0], False)]
    for piece in around[1:]:
        pieces += [(body, True), (piece, False)]
    ids: list[int] = []
    spans: list[Span] = []
    base = 0
    for piece, plain in pieces:
        if piece:
            encoded = encode(tokenizer, piece, plain)
            ids.extend(encoded["input_ids"])
            spans.extend((base + a, base + b) for a, b in encoded["offset_mapping"])
        base += len(piece)
    start = base - len(around[-1]) - len(body)
    question_at = start + len(document) + len(between) - len(between.lstrip())
    first = next(i for i, (_, end) in enumerate(spans) if end > question_at)
    return Prompt(
        ids=tuple(ids),
        text="".join(piece for piece, _ in pieces),
        spans=tuple(spans),
        document=(start, start + len(document)),
        question=(first, len(ids)),
    )


def encode(tokenizer: Any, text: str, plain: bool) -> Any:
    """`text` in tokens with their places in it; where it is `plain`, special tokens' names are text like any other."""
    return tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        split_special_tokens=plain,
        verbose=False,
    )
