"""ASL (arXiv 2601.07667): the layer of the cut is chosen for each prompt, where the tokens' ranks settle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import Scoring
from sliminfer.selectors.base import PrefillPlan, PromptView, PruneView, Selection, at_depth, read_knobs
from sliminfer.selectors.options import check_count, check_pool, check_share
from sliminfer.selectors.tokenwise import TokenSelector, attention_received


@dataclass(frozen=True)
class AslKnobs:
    """When ranks have settled.

    Attributes:
        settled: relative variance of the ranks below which they have: 0 for equal ranks, 1 for ranks by chance.
        window: layers over which it is taken.
        pool: neighbouring tokens (an odd number) that share the highest score among them.
    """

    settled: float = 0.05
    window: int = 3
    pool: int = 7

    def __post_init__(self) -> None:
        check_share("settled", self.settled)
        check_count("window", self.window, least=2)
        check_pool(self.pool)


class Asl(TokenSelector):
    """Adaptive layer selection: our reimplementation.

    After each candidate layer tokens are ranked by FastKV's score. Of those that would be kept now, the variance of
    their ranks over the last `window` layers, as a share of what ranks by chance would have, (n^2 - 1) / 12, is
    averaged; once it is below `settled`, or at the last candidate, the cut is made. The paper describes the rule so;
    threshold, window and candidates are our choice. Whether to cut must be known to go on, so each candidate waits for
    the device once.

    Steps: the candidates, all with the same keep: every layer from 3/16 of the depth to 3/8 of it. The budget that a
    comparison solves for is met where the last candidate is taken, and an earlier one spends less.
    """

    name: ClassVar[str] = "asl"
    paper: ClassVar[str] = "ASL, arXiv 2601.07667 (our reimplementation)"
    knobs: ClassVar[type[Any]] = AslKnobs
    own_budget: ClassVar[bool] = True

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        self._ranks: list[Tensor] = []

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        first, last = at_depth(3 / 16, layers), at_depth(3 / 8, layers)
        steps = tuple(PruneStep(layer, 0.2) for layer in range(first, last + 1))
        return SlimConfig(steps=steps, method=cls.name, query_window=8)

    @classmethod
    def scorings_at(cls, layer: int, config: SlimConfig, blocks: BlockMap, alive: int) -> tuple[Scoring, ...]:
        return cls.scorings(config, blocks, alive) * sum(step.layer <= layer for step in config.steps)

    @classmethod
    def plan(
        cls, config: SlimConfig, blocks: BlockMap, layers: int, seeing: Sequence[int] | None = None
    ) -> PrefillPlan:
        last = super().plan(config.with_changes(steps=config.steps[-1:]), blocks, layers, seeing)
        return PrefillPlan(last.layer_runs, last.scored * len(config.steps))

    def select(self, view: PruneView) -> Selection | None:
        chosen = super().select(view)
        if chosen is None or view.step == self.config.steps[-1] or self.prompt.blocks.dropped:
            return chosen  # what the caller wants dropped passes no step, so there the first candidate is the cut
        return chosen if self._settled(torch.searchsorted(view.alive, chosen.kept)) else None

    def score(self, view: PruneView) -> Tensor:
        pool = read_knobs(AslKnobs, self.config).pool
        received = attention_received(view.queries(self.prompt.blocks.window), view.keys(), view.softmax)
        scores = F.max_pool1d(received[None], pool, stride=1, padding=pool // 2)[0].sum(0)
        self._ranks.append(scores.sort(descending=True, stable=True).indices.argsort())
        return scores

    def _settled(self, kept: Tensor) -> bool:
        """Whether the ranks of the tokens at `kept` have been much the same for some layers."""
        options = read_knobs(AslKnobs, self.config)
        if len(self._ranks) < options.window:
            return False
        self._ranks = self._ranks[-options.window :]
        ranks = torch.stack([each.to(kept.device)[kept] for each in self._ranks]).float()
        by_chance = (len(self._ranks[-1]) ** 2 - 1) / 12
        return bool(ranks.var(0, correction=0).mean() < options.settled * by_chance)
