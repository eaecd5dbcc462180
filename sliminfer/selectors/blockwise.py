"""Methods that keep whole blocks: the budget, the forced blocks and the order are the same for all of them."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PromptView, PruneView, Selection, Selector


class BlockSelector(Selector):
    """Keeps the forced blocks and, within the step's budget, the blocks of the highest `score` that are not dropped.

    Where the forced blocks exceed the budget, they alone go on.
    """

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        self.alive = torch.arange(len(prompt.blocks))
        self.forced = torch.tensor(prompt.blocks.forced, dtype=torch.int64)
        self.gone = torch.zeros(len(prompt.blocks), dtype=torch.bool)
        self.gone[list(prompt.blocks.dropped)] = True

    @abstractmethod
    def score(self, view: PruneView) -> Tensor:
        """Score of each of the blocks `self.alive`, finite fp32 [alive]."""

    @classmethod
    def tokens_after(cls, step: PruneStep, blocks: BlockMap, alive: int) -> int:
        return min(alive, blocks.kept(step) * blocks.block_size - blocks.missing)

    def select(self, view: PruneView) -> Selection | None:
        budget = self.prompt.blocks.kept(view.step)
        if budget >= len(self.alive):
            return None
        scores, order = self.ranked(view)
        return self.keep(scores, order, budget)

    def ranked(self, view: PruneView) -> tuple[Tensor, torch.return_types.sort]:
        """Score of each block, NaN for those that are gone, and the alive blocks from best to worst.

        Forced blocks come first, at a score of infinity, dropped ones last; ties go to the lower block.
        """
        device = view.alive.device
        # Copies that do not wait: the host must not fall behind the layers that a GPU is still busy with.
        self.alive = self.alive.to(device, non_blocking=True)
        self.forced = self.forced.to(device, non_blocking=True)
        self.gone = self.gone.to(device, non_blocking=True)
        ranked = self.score(view).to(device)
        scores = torch.full((len(self.prompt.blocks),), math.nan, device=device)
        scores[self.alive] = ranked
        if self.prompt.blocks.dropped:
            ranked.masked_fill_(self.gone[self.alive], -math.inf)
        ranked.index_fill_(0, torch.searchsorted(self.alive, self.forced), math.inf)
        return scores, torch.sort(ranked, descending=True, stable=True)

    def keep(self, scores: Tensor, order: torch.return_types.sort, budget: int) -> Selection:
        """The best `budget` of the alive blocks."""
        self.alive = self.alive[order.indices[:budget].sort().values]
        chosen = budget > len(self.prompt.blocks.forced)
        return Selection(self._positions(self.alive), scores, order.values[budget - 1] if chosen else None)

    def _positions(self, blocks: Tensor) -> Tensor:
        size = self.prompt.blocks.block_size
        grid = blocks[:, None] * size + torch.arange(size, device=blocks.device)
        # The last block, always kept, is the only one that can be partial.
        flat = grid.flatten()
        return flat[: len(flat) - self.prompt.blocks.missing]
