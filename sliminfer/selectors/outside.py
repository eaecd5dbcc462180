"""Methods whose scores come from outside the model: blocks are chosen before layer 0, at their own positions."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.base import PromptView, PruneView
from sliminfer.selectors.blockwise import BlockSelector


class OutsideSelector(BlockSelector):
    """A block's score is the mean of its tokens' scores; what is left is to say where those come from, in `source`.

    Steps: one before layer 0 as a rule; later ones rank by the same scores.

    Raises:
        ConfigError: the prompt comes without scores, or with those of another prompt.
    """

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        grid = by_block(scores_of(config, prompt), prompt.blocks)
        grid[-1] *= prompt.blocks.block_size / (prompt.blocks.block_size - prompt.blocks.missing)
        self._scores = grid.mean(-1)

    @classmethod
    def query_window(cls, config: SlimConfig, blocks: BlockMap) -> int:
        return 0

    def score(self, view: PruneView) -> Tensor:
        return self._scores.to(self.alive.device)[self.alive]


def scores_of(config: SlimConfig, prompt: PromptView) -> Tensor:
    """The scores that `prompt` comes with, finite fp32 [N]; raises ConfigError where there are none, or others."""
    if prompt.outside is None:
        raise ConfigError(
            f"Method {config.method} takes its scores from outside the model: run it by the engine, or give them, as "
            "in slim(model, config, outside=scores)."
        )
    if tuple(prompt.outside.shape) != (prompt.tokens,):
        raise ConfigError(
            f"Scores of {prompt.outside.numel():,} tokens are given for a prompt of {prompt.tokens:,}: give each token "
            "one."
        )
    return prompt.outside.float().nan_to_num(0.0)


def by_block(scores: Tensor, blocks: BlockMap) -> Tensor:
    """Scores of tokens [N] with a row for each block [blocks, block_size], 0 where the last block has no token."""
    return pad(scores, (0, blocks.missing)).view(len(blocks), blocks.block_size)
