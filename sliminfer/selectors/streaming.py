"""StreamingLLM (arXiv 2309.17453) as a choice of tokens: the first and the latest."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.base import PruneView
from sliminfer.selectors.blockwise import BlockSelector


class Streaming(BlockSelector):
    """Attention sinks and a recent window: our reimplementation of the idea as a pruning of hidden states.

    The sinks are the config's first `sink` blocks; the window is as long as the step's keep allows. A block's
    score is its index. StreamingLLM itself bounds attention and KV memory, but still runs every token
    through every layer; here what lies outside the window goes no further, as with the other methods.
    """

    name: ClassVar[str] = "streaming"
    paper: ClassVar[str] = "StreamingLLM, arXiv 2309.17453 (our reimplementation)"

    @classmethod
    def query_window(cls, config: SlimConfig, blocks: BlockMap) -> int:
        return 0

    def score(self, view: PruneView) -> Tensor:
        return self.alive.float()
