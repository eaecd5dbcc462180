"""Blocks scored by their mean query and their mean key: the cheapest estimate."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sliminfer.schedule.reading import Grid
from sliminfer.sparse.base import Chooser, after, block_means, grouped


class Pooled(Chooser):
    """softmax over the blocks j <= i of scale * mean(q of block i) . mean(k of block j).

    The block-sparse pattern of MInference (arXiv 2407.02490) with the rule "share"; with the rule "max" it cuts as
    FlashPrefill (arXiv 2603.06199) does: a block is read where its score is at least a share of its row's best, which
    needs no sorting.
    """

    name: ClassVar[str] = "pooled"
    paper: ClassVar[str] = "MInference, arXiv 2407.02490; FlashPrefill, arXiv 2603.06199"

    def scores(self, queries: Tensor, keys: Tensor, scale: float) -> Tensor:
        block = self.reading.block
        logits = grouped(block_means(queries, block), block_means(keys, block)).mul_(scale)
        return logits.masked_fill_(after(logits.shape[1], logits.shape[2], logits.device), -float("inf")).softmax(-1)

    @classmethod
    def products(cls, grid: Grid) -> float:
        return float(len(grid) ** 2)
