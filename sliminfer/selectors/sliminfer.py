"""SlimInfer (arXiv 2508.06447): keep the blocks that the end of the prompt attends to."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from sliminfer.config import SlimConfig
from sliminfer.ops import block_scores, unit_keys
from sliminfer.selectors.base import PromptView, PruneView, Selection, Selector


class SlimInfer(Selector):
    """Block-wise pruning by the attention of the local queries.

    A block's score is the largest softmax attention that any local query gives, in any head, to any of the
    block's units; the best blocks within the budget go on, forced blocks first. With `unit_size` 1, the
    default, each key stands for itself, a step beyond the paper's mean-key units.
    """

    name: ClassVar[str] = "sliminfer"
    paper: ClassVar[str] = "SlimInfer, arXiv 2508.06447"

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        self._alive = torch.arange(len(prompt.blocks))

    def select(self, view: PruneView) -> Selection | None:
        budget = self.prompt.blocks.budget(view.step)
        if budget >= len(self._alive) or len(self.prompt.blocks.forced) >= budget:
            return None
        device = view.alive.device
        self._alive = self._alive.to(device)
        scores = self.score(view)
        forced = torch.tensor(self.prompt.blocks.forced, device=device)
        ranked = scores[self._alive]
        ranked[torch.searchsorted(self._alive, forced)] = math.inf
        order = torch.sort(ranked, descending=True, stable=True)
        self._alive = self._alive[order.indices[:budget].sort().values]
        return Selection(
            kept=self._positions(self._alive),
            scores=scores,
            threshold=order.values[budget - 1],
        )

    def score(self, view: PruneView) -> Tensor:
        """Score of each block of the prompt, fp32 [blocks]; NaN for blocks that are gone."""
        unit = self.config.unit_size
        queries, keys = view.queries(self.query_window), view.keys()
        # Blocks alive are whole, so units can be cut in compacted order: only the prompt's last is partial.
        units = unit_keys(keys, unit) if unit > 1 else keys
        unit_block = torch.searchsorted(self._alive, view.alive[::unit] // self.config.block_size)
        found = block_scores(
            queries,
            units,
            unit_block,
            len(self._alive),
            scale=1.0 / math.sqrt(queries.shape[-1]),
            aggregate=self.config.aggregate,
            unit_size=unit,
            tokens=keys.shape[1],
        )
        scores = torch.full((len(self.prompt.blocks),), math.nan, device=found.device)
        scores[self._alive] = found
        return scores

    def _positions(self, blocks: Tensor) -> Tensor:
        size = self.config.block_size
        grid = blocks[:, None] * size + torch.arange(size, device=blocks.device)
        # The last block, always kept, is the only one that can be partial.
        missing = len(self.prompt.blocks) * size - self.prompt.tokens
        flat = grid.flatten()
        return flat[: len(flat) - missing]
