"""What a chooser of sparse reading is: how much each block of queries would attend to each block of keys, roughly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from sliminfer.schedule.reading import Grid, SparseReading


class Chooser(ABC):
    """Scores the blocks of one layer, from what the layer attends with.

    Attributes:
        name: in configs, JSON and on the page.
        paper: where the formula comes from, as shown to users.
        looks_ahead: whether what comes after a block of queries bears on its scores.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    looks_ahead: ClassVar[bool] = False

    def __init__(self, reading: SparseReading, grid: Grid) -> None:
        self.reading, self.grid = reading, grid

    @abstractmethod
    def scores(self, queries: Tensor, keys: Tensor, scale: float) -> Tensor:
        """Shares of attention, about 1 in each row, fp32 [heads, rows, blocks]; 0 where keys come after queries.

        Args:
            queries: after RoPE [heads, tokens, head_dim], or of the prompt's last tokens from a block's first on, where
                the chooser does not look ahead; `rows` are their blocks.
            keys: after RoPE [kv_heads, tokens, head_dim]; a group of query heads shares one.
            scale: of their products.
        """

    @classmethod
    @abstractmethod
    def products(cls, grid: Grid) -> float:
        """Products of a query's and a key's width that `scores` takes for each query head, for the FLOP model."""


def block_means(states: Tensor, block: int) -> Tensor:
    """Means of blocks, the last one maybe partial, of `states` [heads, tokens, width], fp32 [heads, blocks, width]."""
    whole = states.shape[1] // block * block
    found: Tensor = states[:, :whole].unflatten(1, (-1, block)).mean(2, dtype=torch.float32)
    if whole == states.shape[1]:
        return found
    return torch.cat([found, states[:, whole:].mean(1, keepdim=True, dtype=torch.float32)], 1)


def grouped(queries: Tensor, keys: Tensor) -> Tensor:
    """Products of the queries of each group with the keys that it shares [heads, q, k]."""
    heads, rows, width = queries.shape
    wide = queries.reshape(len(keys), -1, width)
    return torch.bmm(wide, keys.transpose(1, 2)).view(heads, rows, -1)


def after(rows: int, columns: int, device: torch.device) -> Tensor:
    """Where a column comes after its row, bool [rows, columns]; the rows are the last of as many as the columns."""
    return torch.ones(rows, columns, dtype=torch.bool, device=device).triu_(1 + columns - rows)
