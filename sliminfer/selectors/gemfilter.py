"""GemFilter (arXiv 2409.17422): let the early layers find the tokens, then read only those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PruneView, at_depth, read_knobs
from sliminfer.selectors.options import check_pool
from sliminfer.selectors.tokenwise import TokenSelector


@dataclass(frozen=True)
class GemFilterKnobs:
    """`pool`: neighbouring tokens (an odd number) whose scores are averaged."""

    pool: int = 5

    def __post_init__(self) -> None:
        check_pool(self.pool)


class GemFilter(TokenSelector):
    """Two passes: our reimplementation.

    The layers before the step's run on the whole prompt. A token's score is the raw product of the last query with
    its key, summed over heads (and over the queries, where `query_window` asks for more than one) and averaged over
    `pool` neighbours. Then the model runs again from layer 0 on the chosen tokens alone, at new positions 0, 1, 2,
    ..., and the answer follows on those.

    Steps: one; its layer is where the first pass ends. The paper filters after layer 13 of 32 down to 1024
    tokens, here an eighth of the prompt, its 1024 tokens of 8K.
    """

    name: ClassVar[str] = "gemfilter"
    paper: ClassVar[str] = "GemFilter, arXiv 2409.17422 (our reimplementation)"
    knobs: ClassVar[type[GemFilterKnobs]] = GemFilterKnobs
    one_step: ClassVar[bool] = True
    two_pass: ClassVar[bool] = True

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(steps=(PruneStep(at_depth(14 / 32, layers), 0.125),), method=cls.name, query_window=1)

    def score(self, view: PruneView) -> Tensor:
        pool = read_knobs(GemFilterKnobs, self.config).pool
        queries, keys = view.queries(self.prompt.blocks.window), view.keys()
        # Summing the queries of a group first gives the same sum of products.
        grouped = queries.float().reshape(len(keys), -1, keys.shape[-1]).sum(1)
        raw = torch.matmul(keys.float(), grouped[..., None]).sum(0).t()
        return F.avg_pool1d(raw, pool, stride=1, padding=pool // 2, count_include_pad=False)[0]
