"""Passages of a document, as its reader names them, in the tokens of a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from sliminfer.errors import ConfigError
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span

# Characters of the document, half-open, or a text that stands in it.
Passage: TypeAlias = str | Span


def marked(prompt: Prompt, passages: Sequence[Passage], name: str) -> tuple[Span, ...]:
    """The token ranges of `prompt` that hold `passages` of its document, ascending, those that touch as one.

    A text stands for every place of the document where it is found; where it begins or ends within a token, that token
    is part of it.

    Raises:
        ConfigError: a passage is not in the document; `name` is what the caller calls the passages.
    """
    if not passages:
        return ()
    if isinstance(passages, str) or not isinstance(passages, Sequence):
        raise ConfigError(f"{name} is {passages!r}: give a list of texts, or of first and last characters.")
    low, high = prompt.document
    text = prompt.text[low:high]
    # A text that is given twice is looked for once, and places are kept as plain numbers: a letter has very many.
    wanted = dict.fromkeys(each.strip() for each in passages if isinstance(each, str))
    once: list[Passage] = [*wanted, *(each for each in passages if not isinstance(each, str))]
    edges_of = (edge for passage in once for place in _places(text, passage, name) for edge in place)
    places = np.fromiter(edges_of, dtype=np.int64).reshape(-1, 2) + low
    starts, ends = np.array(prompt.spans, dtype=np.int64).T
    first = np.searchsorted(np.maximum.accumulate(ends), places[:, 0], "right")
    last = np.searchsorted(np.maximum.accumulate(starts), places[:, 1], "left")
    # +1 where a range begins and -1 where one ends: above 0 is inside of one.
    steps = np.zeros(len(starts) + 1, dtype=np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last, -1)
    inside = np.concatenate([[0], np.cumsum(steps) > 0]).astype(np.int8)
    edges = np.diff(inside)
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def _places(text: str, passage: Passage, name: str) -> Iterator[Span]:
    """Character ranges of `text` that `passage` stands for, at least one."""
    if isinstance(passage, str):
        wanted = passage.strip()
        found = re.finditer(re.escape(wanted), text) if wanted else iter(())
        first = next(found, None)
        if first is None:
            told = repr(wanted if len(wanted) <= 60 else wanted[:57] + "...")
            raise ConfigError(f"{name} names {told}, which is not in the document: give a text as it stands there.")
        yield first.span()
        yield from (match.span() for match in found)
        return
    try:
        start, end = passage
        inside = 0 <= start < end <= len(text)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} has {passage!r}: give a text, or a pair of first and last character.") from error
    if not inside:
        raise ConfigError(f"{name} names characters {start} to {end}, which are not in the document of {len(text):,}.")
    yield start, end
