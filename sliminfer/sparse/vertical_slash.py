"""Blocks scored by the columns and diagonals that the last queries attend to."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.schedule.reading import Grid
from sliminfer.sparse.base import Chooser, grouped

LAST = 64  # queries that are looked at, as in the paper


class VerticalSlash(Chooser):
    """The vertical-slash pattern of MInference (arXiv 2407.02490), in blocks.

    The attention of the last 64 queries, summed over them column by column (vertical lines: keys that everybody reads)
    and diagonal by diagonal (slashes: distances that everybody reads at). A block of keys has the sum of its columns,
    a distance between blocks that of its diagonals, each diagonal shared out between the two block distances that it
    runs through; a block of queries is thought to attend to a block of keys by the sum of both.
    """

    name: ClassVar[str] = "vertical_slash"
    paper: ClassVar[str] = "MInference, arXiv 2407.02490"
    looks_ahead: ClassVar[bool] = True

    def scores(self, queries: Tensor, keys: Tensor, scale: float) -> Tensor:
        blocks, block, tokens = len(self.grid), self.reading.block, self.grid.tokens
        last, device = min(LAST, tokens), queries.device
        logits = grouped(queries[:, -last:].float(), keys.float()).mul_(scale)
        distance = torch.arange(tokens - last, tokens, device=device)[:, None] - torch.arange(tokens, device=device)
        shares = logits.masked_fill_(distance < 0, -float("inf")).softmax(-1)
        columns = F.pad(shares.sum(1), (0, blocks * block - tokens)).unflatten(-1, (-1, block)).sum(-1)
        diagonals = shares.new_zeros(len(queries), (blocks + 1) * block)
        diagonals.index_add_(1, distance.clamp_min(0).flatten(), shares.flatten(1))
        lines = diagonals.unflatten(-1, (-1, block))
        beyond = torch.arange(block, device=device) / block
        near, far = (lines * (1 - beyond)).sum(-1), (lines * beyond).sum(-1)
        slashes = near[:, :blocks] + F.pad(far, (1, 0))[:, :blocks]
        apart = torch.arange(blocks, device=device)[:, None] - torch.arange(blocks, device=device)
        found: Tensor = columns[:, None, :] + slashes[:, apart.clamp_min(0)]
        found.masked_fill_(apart < 0, 0.0)
        return found / found.sum(-1, keepdim=True).clamp_min(1e-30)

    @classmethod
    def products(cls, grid: Grid) -> float:
        return float(min(LAST, grid.tokens) * grid.tokens)
