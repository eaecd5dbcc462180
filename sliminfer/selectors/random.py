"""Random blocks: what a budget alone is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.base import PromptView, PruneView, read_knobs
from sliminfer.selectors.blockwise import BlockSelector


@dataclass(frozen=True)
class RandomKnobs:
    """`seed`: of the generator that ranks the blocks, once per prompt."""

    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"Option seed is {self.seed!r}: it must be a whole number of at least 0.")


class Random(BlockSelector):
    """Keeps blocks drawn at random, beside the forced ones: the lower end of the scale.

    One ranking serves all steps, so a block kept at a later step was kept at the earlier ones too.
    """

    name: ClassVar[str] = "random"
    paper: ClassVar[str] = "a baseline of ours"
    knobs: ClassVar[type[RandomKnobs]] = RandomKnobs

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        generator = torch.Generator().manual_seed(read_knobs(RandomKnobs, config).seed)
        self._rank = torch.rand(len(prompt.blocks), generator=generator)

    @classmethod
    def query_window(cls, config: SlimConfig, blocks: BlockMap) -> int:
        return 0

    def score(self, view: PruneView) -> Tensor:
        return self._rank.to(self.alive.device)[self.alive]
