"""A budget per prompt: as many blocks as the scores ask for, no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PruneView, Selection, at_depth
from sliminfer.selectors.options import check_share
from sliminfer.selectors.sliminfer import SlimInfer, SlimInferKnobs


@dataclass(frozen=True)
class AdaptiveKnobs(SlimInferKnobs):
    """How much is enough; `carry` and `half_life` as in `sliminfer`.

    Attributes:
        mass: share of the score of all blocks that are not forced which the kept ones must hold.
        least: lower bound of every step's keep, as a fraction of the prompt.
    """

    mass: float = 0.8
    least: float = 0.03125

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("mass", self.mass)
        check_share("least", self.least)


class Adaptive(SlimInfer):
    """SlimInfer with a budget of its own at each step: an extension of ours.

    Blocks are scored as by `sliminfer`. Of the blocks that are not forced, the smallest set whose scores sum
    to `mass` of their total goes on with the forced ones. A question that one passage answers keeps little,
    one that needs the whole document keeps more. The number of blocks must be known to cut the tensors, so
    each step waits for the device once, where a fixed budget does not.

    Steps: each keep is the most that may go on; `least` is the least. A later step never keeps more than an
    earlier one. The budget chosen is the length of `Selection.kept`.
    """

    name: ClassVar[str] = "adaptive"
    paper: ClassVar[str] = "an extension of ours to SlimInfer, arXiv 2508.06447"
    knobs: ClassVar[type[Any]] = AdaptiveKnobs
    own_budget: ClassVar[bool] = True
    usual: ClassVar[float] = 0.5  # the bounds are twice the paper's keeps

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        steps = {at_depth(1 / 3, layers): 0.5, at_depth(2 / 3, layers): 0.25}
        return SlimConfig(steps=tuple(PruneStep(layer, keep) for layer, keep in steps.items()), method=cls.name)

    def select(self, view: PruneView) -> Selection | None:
        blocks = self.prompt.blocks
        most = min(blocks.kept(view.step), len(self.alive))
        if len(blocks.forced) == len(self.alive):
            return None
        scores, order = self.ranked(view)
        whole = len(self.alive) == len(blocks)
        free = len(self.alive) - len(blocks.dropped) if whole else len(self.alive)
        budget = self._enough(order.values[:free], most)
        return None if budget == len(self.alive) else self.keep(scores, order, budget)

    def _enough(self, values: Tensor, most: int) -> int:
        """Blocks to keep, forced ones included, for scores `values` in descending order."""
        forced = len(self.prompt.blocks.forced)
        least = math.ceil(self.options.least * len(self.prompt.blocks))
        running = values[forced:].cumsum(0)
        needed = int((running < self.options.mass * running[-1]).sum()) + 1 if len(running) else 0
        return int(min(most, max(least, forced + needed)))
