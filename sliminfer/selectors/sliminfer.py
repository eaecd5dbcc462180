"""SlimInfer (arXiv 2508.06447): keep the blocks that the end of the prompt attends to."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from sliminfer.ops import block_scores, unit_keys
from sliminfer.selectors.base import PruneView
from sliminfer.selectors.blockwise import BlockSelector


class SlimInfer(BlockSelector):
    """Block-wise pruning by the attention of the local queries.

    A block's score is the largest softmax attention that any local query gives, in any head, to any of the
    block's units; the best blocks within the budget go on, forced blocks first. With `unit_size` 1, the
    default, each key stands for itself, a step beyond the paper's mean-key units.

    Steps: at each step's layer its keep of the prompt goes on, in whole blocks.
    """

    name: ClassVar[str] = "sliminfer"
    paper: ClassVar[str] = "SlimInfer, arXiv 2508.06447"

    def score(self, view: PruneView) -> Tensor:
        unit = self.config.unit_size
        queries, keys = view.queries(self.config.query_window), view.keys()
        # Blocks alive are whole, so units can be cut in compacted order: only the prompt's last is partial.
        units = unit_keys(keys, unit) if unit > 1 else keys
        unit_block = torch.searchsorted(self.alive, view.alive[::unit] // self.config.block_size)
        return block_scores(
            queries,
            units,
            unit_block.to(units.device),
            len(self.alive),
            scale=1.0 / math.sqrt(queries.shape[-1]),
            aggregate=self.config.aggregate,
            unit_size=unit,
            tokens=keys.shape[1],
        )
