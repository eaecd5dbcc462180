"""A conversation about a document as one prompt: the document, what was asked and answered, and the last question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sliminfer.errors import ModelError
from sliminfer.model.chat import conversation_template
from sliminfer.model.prompts import QUESTION_PREFIX, Prompt, encode
from sliminfer.schedule.blocks import Span

Turn = tuple[str, str]  # a question and its answer


def build_conversation(
    tokenizer: Any, document: str, history: Sequence[Turn], question: str, thinking: bool = False
) -> tuple[Prompt, Span]:
    """The chat prompt that asks `question` after the turns of `history`, at least one; the document opens the first.

    It begins as `build_prompt` begins for any question about `document`, so that a reading of the one serves the other.

    Returns:
        The prompt, and the token span of the earlier turns, from the first question up to the last one.

    Raises:
        ModelError: the chat template does not print each message once.
    """
    document = document.rstrip()
    contents = [text.strip() for turn in history for text in turn] + [question.strip()]
    contents[0] = f"{document}{QUESTION_PREFIX}{contents[0]}"
    around = conversation_template(tokenizer, len(history), thinking)
    if len(around) != len(contents) + 1:
        raise ModelError(
            "The model's chat template does not print every message of a conversation once: ask one question at a time."
        )
    pieces = [(around[0], False)]
    for content, after in zip(contents, around[1:], strict=True):
        pieces += [(content, True), (after, False)]
    ids: list[int] = []
    spans: list[Span] = []
    base = 0
    for text, plain in pieces:
        if text:
            encoded = encode(tokenizer, text, plain)
            ids.extend(encoded["input_ids"])
            spans.extend((base + a, base + b) for a, b in encoded["offset_mapping"])
        base += len(text)
    opened = len(around[0])
    asked_at = base - len(around[-1]) - len(contents[-1])
    said_at = opened + len(document) + len(QUESTION_PREFIX) - len(QUESTION_PREFIX.lstrip())
    said, asked = (next(i for i, (_, end) in enumerate(spans) if end > at) for at in (said_at, asked_at))
    prompt = Prompt(
        ids=tuple(ids),
        text="".join(text for text, _ in pieces),
        spans=tuple(spans),
        document=(opened, opened + len(document)),
        question=(asked, len(ids)),
    )
    return prompt, (said, asked)
