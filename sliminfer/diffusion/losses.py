"""Where pruning lost what the answer is made from: which sentence, and at which prune step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sliminfer.diffusion.answer import Floats, kept_by_layer
from sliminfer.engine.events import BlocksPruned
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span

_BETWEEN = re.compile(r"\n+|(?<=[.!?])\s+")
LEAST = 0.05  # of the attention that the layers behind a step pay to the document: what is below is no loss to speak of


@dataclass(frozen=True)
class Loss:
    """A sentence that the full model's answer attends to, and that a prune step dropped.

    Attributes:
        layer: the prune step.
        sentence: its characters in the document.
        share: of the attention that the answer's positions pay to the document, in the layers from that step to the
            next, what lies on the sentence.
    """

    layer: int
    sentence: Span
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"layer": self.layer, "sentence": list(self.sentence), "share": self.share}


def losses(
    attended: Sequence[Floats], pruned: Sequence[BlocksPruned], prompt: Prompt, most: int = 3
) -> tuple[Loss, ...]:
    """The sentences that each prune step dropped although the full model's answer attends to them, worst first.

    A sentence is lost at the first step that drops the token of it with the most attention.

    Args:
        attended: attention on each prompt token of the answer's positions, for each layer [L][N].
        pruned: the prune steps of the pruned side.
        most: how many are listed at most.
    """
    layers, tokens = len(attended), len(prompt)
    alive = kept_by_layer(pruned, layers, tokens)
    document = np.array([span is not None for span in prompt.document_spans()], dtype=bool)
    firsts = [event.layer for event in pruned if event.layer < layers]
    found = []
    for at, layer in enumerate(firsts):
        end = firsts[at + 1] if at + 1 < len(firsts) else layers
        on_token = np.where(document, np.mean([attended[index] for index in range(layer, end)], axis=0), 0.0)
        total = float(on_token.sum())
        gone = np.ones(tokens, dtype=bool)
        gone[alive[layer]] = False
        before = np.zeros(tokens, dtype=bool)
        before[alive[layer - 1] if layer else slice(None)] = True
        for sentence, members in _by_sentence(prompt, document):
            peak = members[int(np.argmax(on_token[members]))]
            share = float(on_token[members].sum()) / total if total else 0.0
            if share >= LEAST and gone[peak] and before[peak]:
                found.append(Loss(layer, sentence, share))
    return tuple(sorted(found, key=lambda loss: -loss.share)[:most])


def sentences(text: str) -> list[Span]:
    """The sentences of `text` as character spans without the white space around them."""
    edges = [0, *(edge for match in _BETWEEN.finditer(text) for edge in match.span()), len(text)]
    found = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        piece = text[start:end]
        if piece.strip():
            begins = start + len(piece) - len(piece.lstrip())
            found.append((begins, begins + len(piece.strip())))
    return found


def _by_sentence(prompt: Prompt, document: NDArray[np.bool_]) -> list[tuple[Span, NDArray[np.int64]]]:
    """Each sentence of the document with its tokens."""
    low = prompt.document[0]
    inside = np.flatnonzero(document)
    starts = np.array([max(0, prompt.spans[int(token)][0] - low) for token in inside], dtype=np.int64)
    ends = np.array([prompt.spans[int(token)][1] - low for token in inside], dtype=np.int64)
    found = []
    for start, end in sentences(prompt.text[prompt.document[0] : prompt.document[1]]):
        # Spans of tokens rise, so the touched ones are a range.
        first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(starts, end, "left"))
        if last > first:
            found.append(((start, end), inside[first:last]))
    return found
