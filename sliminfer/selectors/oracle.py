"""The oracle: keep the blocks that hold the answer. It reads where the evidence is, so it is for tasks only."""

from __future__ import annotations

from typing import ClassVar

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.base import PromptView
from sliminfer.selectors.random import Random


class Oracle(Random):
    """Keeps the blocks that touch the evidence, then random ones up to the budget: the upper end of the scale.

    Evidence ranks above everything but the forced blocks; where both exceed the budget, the evidence that
    comes first is kept. What the rest of the budget holds makes the cost equal to the other methods'.

    Raises:
        ConfigError: the prompt comes without evidence.
    """

    name: ClassVar[str] = "oracle"
    paper: ClassVar[str] = "a bound of ours"

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        if not prompt.evidence:
            raise ConfigError(
                "Method oracle keeps the blocks that hold the answer, but nobody said where it is: "
                "use it on a generated task, or choose another method."
            )
        size = prompt.blocks.block_size
        for start, end in prompt.evidence:
            self._rank[start // size : -(-end // size)] = 2.0
