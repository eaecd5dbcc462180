"""SparseReader: the attention of the layers of one prompt that read sparsely."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from sliminfer.ops import dispatch as ops
from sliminfer.schedule.flops import LayerRead
from sliminfer.schedule.reading import Grid, SparseReading
from sliminfer.sparse import chooser_class, make_chooser
from sliminfer.sparse.rules import choose


class SparseReader:
    """Chooses the blocks that a layer reads, and attends to them. One instance serves one prompt.

    Attributes:
        grid: the prompt's blocks.
        counts: blocks of keys that each block of queries read, by layer, on the layer's device [tables, rows]; the rows
            are all blocks, or the last ones where those before were read earlier.
        known: the same of the blocks that were read earlier, on the host.
        chose: the layers that chose for themselves; the others took the choice of the layer before.
    """

    def __init__(
        self, reading: SparseReading, grid: Grid, known: Mapping[int, Tensor] = MappingProxyType({})
    ) -> None:
        self.reading, self.grid, self.known = reading, grid, known
        self.counts: dict[int, Tensor] = {}
        self.chose: list[int] = []
        self._chooser = make_chooser(self.reading, self.grid)
        self._table: Tensor | None = None
        self._shared = False  # whether the next layer takes the table of the last

    def chooses(self, rows: int) -> bool:
        """Whether any of the prompt's last `rows` tokens does not read everything."""
        return self.grid.tokens - rows < self.grid.choosing

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Attention of the prompt in `layer` over the blocks that are chosen there.

        Args:
            query: after RoPE [heads, rows, head_dim], of the whole prompt or its last tokens from a block's first on.
            keys, values: [kv_heads, tokens, head_dim].

        Returns:
            [rows, heads, head_dim].
        """
        if not self._shared or self._table is None or self._table.device != query.device:
            table = self.choose(query, keys, scale)
            self._shared = self._agrees(table)
            self._table = table
            self.chose.append(layer)
        else:
            self._shared = False
        self.counts[layer] = self._table.sum(-1, dtype=torch.int32)
        return ops.sparse_attention(query, keys, values, self._table, self.reading.block, scale)

    def choose(self, query: Tensor, keys: Tensor, scale: float) -> Tensor:
        """The blocks that are read, bool [tables, rows, blocks]: a table for each query head, each group, or all."""
        scores = self._chooser.scores(query, keys, scale)
        heads = {"each": len(scores), "group": len(keys), "all": 1}[self.reading.heads]
        # The best of those that choose together, as blocks are scored for pruning.
        scores = scores.view(heads, -1, *scores.shape[1:]).amax(1)
        return choose(scores, self.grid, self.reading)

    def read(self) -> dict[int, Tensor]:
        """Blocks of keys that each block of queries has read, now or earlier, by layer, on the host [tables, blocks].
        """
        return {layer: self._read(layer) for layer in sorted({*self.known, *self.counts})}

    def shares(self) -> dict[int, float]:
        """The share of the causal blocks that each layer read, now or earlier; waits for the device."""
        return {layer: float(counts.sum(-1).float().mean()) / self.grid.causal for layer, counts in self.read().items()}

    def reads(self) -> dict[int, LayerRead]:
        """What each layer computed, for the FLOP model, as if what was read earlier had been read densely here."""
        products = chooser_class(self.reading.chooser).products(self.grid)
        return {
            layer: LayerRead(
                self.grid.pairs(counts.double().mean(0).tolist()), products if layer in self.chose else 0.0
            )
            for layer, counts in self.counts.items()
        }

    def _read(self, layer: int) -> Tensor:
        known, own = self.known.get(layer), self.counts.get(layer)
        if known is None:
            assert own is not None
            return own.cpu()
        if own is None:  # those that came after read everything
            own = torch.arange(known.shape[1] + 1, len(self.grid) + 1, dtype=torch.int32).expand(len(known), -1)
        return torch.cat([known[:, : len(self.grid) - own.shape[1]], own.cpu()], 1)

    def _agrees(self, table: Tensor) -> bool:
        """Whether `table` has enough in common with the one before it to serve the next layer as well."""
        before = self._table
        if self.reading.agree > 1.0 or before is None or before.device != table.device:
            return False
        return float((table & before).sum() / table.sum()) >= self.reading.agree
