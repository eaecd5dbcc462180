"""Cutting a prompt to a length in tokens by taking away its middle, as LongBench does."""

from __future__ import annotations

from typing import Any

# Tokens that a chat template adds at most.
TEMPLATE_ROOM = 32


def cut_middle(tokenizer: Any, document: str, question: str, limit: int) -> tuple[str, str]:
    """Document and question of at most `limit` tokens together.

    What is too long keeps its first and last `limit // 2` tokens; the question is at the end, so the document
    loses its middle. `tokenizer` is a fast transformers tokenizer.
    """
    text = document + question
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    if len(offsets) <= limit:
        return document, question
    half = limit // 2
    head_end, tail_start = offsets[half - 1][1], offsets[len(offsets) - half][0]
    if tail_start >= len(document):  # a question of more than half the limit is cut itself
        return document[:head_end], text[len(document) : max(head_end, len(document))] + text[tail_start:]
    return document[: min(head_end, len(document))] + document[tail_start:], question
