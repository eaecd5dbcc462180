"""One layer's blocks in host memory: tensors for torch, addresses for a kernel that reads them from the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# What one load instruction reads at most, and therefore what rows of blocks must be multiples of, in bytes.
_GRAIN = 16


class HostBlocks(Sequence[Tensor]):
    """Blocks [2, kv_heads, block_size, head_dim], each dense, over as many slabs as they take.

    Attributes:
        spans: the blocks of each slab [blocks, 2, kv_heads, block_size, head_dim].
        addresses: where each block begins, int64 [blocks] on the host.
        reachable: whether a kernel on the device of the layer may read them there: they are page-locked, which CUDA
            gives an address on the device that is the host's own, or the layer is on the host itself.
    """

    def __init__(self, slabs: Sequence[Tensor], like: Tensor, block_size: int) -> None:
        """The bytes of `slabs`, [blocks, block_bytes] each, as blocks of `like` [2, kv_heads, tokens, head_dim]."""
        _, heads, _, width = like.shape
        # Copies to the host may run after the request's inference mode ended: no inference tensors here.
        with torch.inference_mode(False):
            self.spans = [slab.view(like.dtype).view(-1, 2, heads, block_size, width) for slab in slabs]
        each = [slab.data_ptr() + torch.arange(len(slab)) * slab.stride(0) for slab in slabs]
        self.addresses = torch.cat(each)
        pinned = not like.is_cuda or all(slab.is_pinned() for slab in slabs)
        self.reachable = pinned and width * like.element_size() % _GRAIN == 0

    def __len__(self) -> int:
        return sum(map(len, self.spans))

    def __getitem__(self, block: int) -> Tensor:  # type: ignore[override]
        for span in self.spans:
            if block < len(span):
                return span[block]
            block -= len(span)
        raise IndexError(block)

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(span.nbytes for span in self.spans)

    def let_go(self) -> None:
        """Hold nothing any more."""
        self.spans = []
