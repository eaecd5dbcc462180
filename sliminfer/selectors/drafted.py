"""SlimInfer whose first step is a draft model's: what that reads and finds stands beside what our layers find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PromptView, PruneView, at_depth, read_knobs
from sliminfer.selectors.outside import by_block, scores_of
from sliminfer.selectors.sliminfer import SlimInfer, SlimInferKnobs
from sliminfer.selectors.sources import Drafting, Source


@dataclass(frozen=True)
class DraftedKnobs(SlimInferKnobs):
    """`look_ahead` and `skip` of the draft, see `Drafting`; the others as in `sliminfer`."""

    look_ahead: int = 0
    skip: float = 1 / 3

    def __post_init__(self) -> None:
        super().__post_init__()
        Drafting(self.look_ahead, skip=self.skip)


class Drafted(SlimInfer):
    """SlimInfer with a draft model's scores as those of an earlier step: an extension of ours.

    The draft scores by our rule: the maximum over the question's queries, its heads and its layers from a third of
    its depth on. Before layer 0 its scores alone choose; at later steps a block counts as the better of what the
    draft found, times `carry`, and what this model's own attention finds.

    Steps: one before layer 0 that leaves half, then those of `sliminfer` from a quarter of the depth on.
    """

    name: ClassVar[str] = "sliminfer-draft"
    paper: ClassVar[str] = "SlimInfer, arXiv 2508.06447, with a draft as in arXiv 2502.02789 (an extension of ours)"
    knobs: ClassVar[type[Any]] = DraftedKnobs

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        found = by_block(scores_of(config, prompt), prompt.blocks).amax(-1)
        near = self.spread(found.index_fill(0, self.forced.to(found.device), 0.0))
        self._best = torch.maximum(found, near)

    @classmethod
    def source(cls, config: SlimConfig) -> Source:
        options = read_knobs(DraftedKnobs, config)
        return Drafting(options.look_ahead, pool=1, over_queries="max", skip=options.skip)

    @classmethod
    def query_window(cls, config: SlimConfig, blocks: BlockMap) -> int:
        # With no step behind layer 0 this model scores nothing itself.
        return blocks.window if any(step.layer for step in config.steps) else 0

    def score(self, view: PruneView) -> Tensor:
        if view.step.layer:
            return super().score(view)
        self._best = self._best.to(view.alive.device)
        return self._best[self.alive]

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        steps = {0: 0.5} | {at_depth(1 / 4, layers): 0.25, at_depth(1 / 2, layers): 0.12}
        return SlimConfig(
            steps=tuple(PruneStep(layer, keep) for layer, keep in steps.items()), method=cls.name, least_tokens=192
        )
