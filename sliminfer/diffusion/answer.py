"""What the answer attends to: the answer-informed oracle of CLAA (arXiv 2602.16054), as a measure of any method.

A method chooses tokens before the answer is there. Once it is, its own attention back to the prompt says, layer by
layer, which tokens it was made from: `answer_attention`. `answer_overlap` says how many of them a method had kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sliminfer.diffusion.probe import Probes, local_attention
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import BlocksPruned
from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.plain import plain
from sliminfer.errors import ConfigError
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import SlimConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AnswerOverlap:
    """How much of what the answer attends to a method had kept, in each layer; NaN where it had no choice.

    Attributes:
        top: of as many tokens as were kept, those that the answer attends to most: the share of them kept [L].
        mass: the share of the answer's attention that lies on what was kept [L].
    """

    top: Floats
    mass: Floats

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data under the same names; None where there was no choice."""
        found: dict[str, Any] = plain({"top": self.top, "mass": self.mass})
        return found


@torch.inference_mode()
def answer_attention(engine: SlimEngine, prompt: Prompt, answer: Sequence[int]) -> Iterator[Floats]:
    """For each layer, the attention on each prompt token of the positions that say `answer`, yielded as it is known.

    A softmax over what a position sees, averaged over positions and heads: each array [N] sums to at most 1. One
    full prefill; runs of the engine wait until the last layer, or until the iterator is closed.

    Args:
        answer: token ids, of the full model's own answer for the oracle of the paper.

    Raises:
        ConfigError: the answer is empty.
    """
    if not answer:
        raise ConfigError("The answer is empty: give at least one token.")
    with engine.turn.taken():
        loop = LayerLoop(engine.loaded.model, SlimConfig(method="full"), prompt.question)
        probes = Probes(loop, engine.loaded, prompt, answer)
        rows = probes.rows()
        for layer in range(engine.loaded.layers):
            yield local_attention(loop, layer, rows, len(answer))[: len(prompt)].double().cpu().numpy()
            rows = loop.through(layer, rows)


def kept_by_layer(pruned: Sequence[BlocksPruned], layers: int, tokens: int) -> list[NDArray[np.int64]]:
    """For each of `layers`, the positions that enter it, by the prune events of one side."""
    alive = np.arange(tokens)
    steps = {event.layer: event.kept.astype(np.int64) for event in pruned}
    found = []
    for layer in range(layers):
        alive = steps.get(layer, alive)
        found.append(alive)
    return found


def answer_overlap(
    attended: Sequence[Floats], kept: Sequence[NDArray[np.int64]], forced: Sequence[int] = ()
) -> AnswerOverlap:
    """How much of what the answer attends to was kept, layer by layer.

    Args:
        attended: attention on each prompt token, for each layer [L][N], as `answer_attention` gives it.
        kept: positions that entered each layer [L].
        forced: positions that every method keeps: they say nothing of its choice, and count nowhere.
    """
    if len(attended) != len(kept):
        raise ConfigError(f"Attention of {len(attended)} layers and tokens of {len(kept)} are given: give each one.")
    top, mass = np.full(len(kept), np.nan), np.full(len(kept), np.nan)
    for layer, (on_token, alive) in enumerate(zip(attended, kept, strict=True)):
        free = np.ones(len(on_token), dtype=bool)
        free[list(forced)] = False
        chosen = np.zeros_like(free)
        chosen[alive] = True
        chosen &= free
        count, total = int(chosen.sum()), float(on_token[free].sum())
        if not count or not total or chosen.sum() == free.sum():
            continue
        best = np.argsort(-np.where(free, on_token, -np.inf), kind="stable")[:count]
        top[layer] = chosen[best].mean()
        mass[layer] = on_token[chosen].sum() / total
    return AnswerOverlap(top, mass)
