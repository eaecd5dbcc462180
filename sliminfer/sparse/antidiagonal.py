"""Blocks scored by sums along antidiagonals: every row and every column of a block is touched, one product in `STRIDE`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.schedule.reading import Grid
from sliminfer.sparse.base import Chooser, after

STRIDE = 8  # of the paper's 8 and 16, the finer; every block size is a multiple of it


class Antidiagonal(Chooser):
    """XAttention (arXiv 2503.16428): queries and keys in strides of S, the keys of a stride turned round.

    The product of stride a of queries and stride b of keys is the sum of scale * q . k along their antidiagonal;
    divided by S, a softmax over the strides b <= a gives shares, and a block's score is the sum of its own.
    """

    name: ClassVar[str] = "antidiagonal"
    paper: ClassVar[str] = "XAttention, arXiv 2503.16428"

    def scores(self, queries: Tensor, keys: Tensor, scale: float) -> Tensor:
        blocks, group, tokens = len(self.grid), len(queries) // len(keys), queries.shape[1]
        own, strides = -(-tokens // self.reading.block), self.reading.block // STRIDE
        hidden = after(own * strides, blocks * strides, queries.device)
        found = torch.empty(len(queries), own, blocks, device=queries.device)
        for head in range(len(queries)):  # one at a time: strides x strides shares
            wide = self._strided(queries[head])
            turned = self._strided(keys[head // group]).unflatten(-1, (STRIDE, -1)).flip(1).flatten(1)
            logits = torch.mm(wide, turned.t()).float().mul_(scale / STRIDE)
            shares = logits.masked_fill_(hidden, -float("inf")).softmax(-1)
            shares[-(-tokens // STRIDE) :] = 0.0  # nobody's queries
            found[head] = shares.view(own, -1, blocks, strides).sum((1, 3))
        rows = torch.full((own,), strides, device=found.device)
        rows[-1] = -(-(tokens - (own - 1) * self.reading.block) // STRIDE)
        return found / rows[:, None]

    def _strided(self, states: Tensor) -> Tensor:
        """[tokens, width] in whole blocks, a stride to a row [strides, STRIDE * width]."""
        missing = -len(states) % self.reading.block
        return F.pad(states, (0, 0, 0, missing)).reshape(-1, STRIDE * states.shape[1])

    @classmethod
    def products(cls, grid: Grid) -> float:
        return (len(grid) * grid.block) ** 2 / STRIDE
