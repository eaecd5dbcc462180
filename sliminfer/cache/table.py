"""Where each layer's keys and values lie, and how many, in device memory: what launches that know no prompt read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sliminfer.cache.layers import RaggedLayer
from sliminfer.ops.reference import HELD


class KVTable:
    """A row for each layer, see `ops.reference`: a buffer's address, its room and its tokens, int64 [layers, 4].

    The rows themselves never move, so that a CUDA graph may be played again over other buffers.

    Attributes:
        stores: the buffers that the rows name now; they must outlive every launch that reads them.
    """

    def __init__(self, layers: int, device: torch.device) -> None:
        with torch.inference_mode(False):
            self._cells = torch.zeros(layers, 4, dtype=torch.int64, device=device)
        self._rows = list(self._cells.unbind())
        self.stores: list[Tensor] = []

    def row(self, layer: int) -> Tensor:
        """The row of `layer`, int64 [4]."""
        return self._rows[layer]

    def name(self, stores: Sequence[Tensor], held: Sequence[int]) -> None:
        """From now on layer i has buffer `stores[i]` [2, kv_heads, room, head_dim], of which `held[i]` are tokens."""
        self.stores = list(stores)
        rows = [[store.data_ptr(), store.shape[2], tokens, 0] for store, tokens in zip(stores, held, strict=True)]
        self._cells.copy_(torch.tensor(rows, dtype=torch.int64))

    def name_layers(self, layers: Sequence[RaggedLayer], tokens: int) -> None:
        """From now on the rows name what `layers` hold, each with room for `tokens` more."""
        self.name([layer.make_room(tokens) for layer in layers], [layer.length for layer in layers])

    def count(self) -> None:
        """Every layer holds one token more; launched, not waited for."""
        self._cells[:, HELD].add_(1)

    def let_go(self) -> None:
        """The rows name nothing any more: buffers that nobody else holds are free once what was launched is done."""
        self.stores = []
