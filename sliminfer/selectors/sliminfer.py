"""SlimInfer (arXiv 2508.06447): keep the blocks that the end of the prompt attends to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sliminfer.config import SlimConfig
from sliminfer.ops import block_scores, unit_keys
from sliminfer.selectors.base import PromptView, PruneView, check_share, read_knobs
from sliminfer.selectors.blockwise import BlockSelector


@dataclass(frozen=True)
class SlimInferKnobs:
    """`carry`: what a block's score at earlier steps still counts, from 0 (only this step's, the paper) to 1."""

    carry: float = 1.0

    def __post_init__(self) -> None:
        check_share("carry", self.carry)


class SlimInfer(BlockSelector):
    """Block-wise pruning by the attention of the local queries.

    A block's score is the largest softmax attention that any local query gives, in any head, to any of the
    block's units; the best blocks within the budget go on, forced blocks first. With `unit_size` 1, the
    default, each key stands for itself, a step beyond the paper's mean-key units. Another step beyond it: a
    block keeps the best score of all steps so far. Only some layers attend to what is asked, and a later step
    behind one that does not would throw away what an earlier one had found; to remember costs nothing.

    Steps: at each step's layer its keep of the prompt goes on, in whole blocks.
    """

    name: ClassVar[str] = "sliminfer"
    paper: ClassVar[str] = "SlimInfer, arXiv 2508.06447"
    knobs: ClassVar[type[Any]] = SlimInferKnobs

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        self.options: Any = read_knobs(self.knobs, config)
        self._best = torch.zeros(len(prompt.blocks))

    def score(self, view: PruneView) -> Tensor:
        unit = self.config.unit_size
        queries, keys = view.queries(self.config.query_window), view.keys()
        # Blocks alive are whole, so units can be cut in compacted order: only the prompt's last is partial.
        units = unit_keys(keys, unit) if unit > 1 else keys
        unit_block = torch.searchsorted(self.alive, view.alive[::unit] // self.config.block_size)
        found = block_scores(
            queries,
            units,
            unit_block.to(units.device),
            len(self.alive),
            scale=1.0 / math.sqrt(queries.shape[-1]),
            aggregate=self.config.aggregate,
            unit_size=unit,
            tokens=keys.shape[1],
        )
        self._best = self._best.to(found.device)
        alive = self.alive.to(found.device)
        self._best[alive] = torch.maximum(found, self.options.carry * self._best[alive])
        return self._best[alive]
