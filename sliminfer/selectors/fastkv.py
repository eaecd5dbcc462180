"""FastKV (arXiv 2502.01068): one token-selective step in the middle of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PruneView, at_depth, read_knobs
from sliminfer.selectors.options import check_pool
from sliminfer.selectors.tokenwise import TokenSelector, attention_received


@dataclass(frozen=True)
class FastKVKnobs:
    """`pool`: neighbouring tokens (an odd number) that share the highest score among them."""

    pool: int = 7

    def __post_init__(self) -> None:
        check_pool(self.pool)


class FastKV(TokenSelector):
    """Token-selective propagation: our reimplementation.

    A token's score is the softmax attention of the last `query_window` queries, summed over the queries,
    max-pooled over `pool` neighbours and summed over heads. Tokens keep their positions.

    Steps: one. The paper runs all tokens through layers 0 to 15 of 32 and a fifth of them through the rest,
    with a window of 8 queries: the published setting here, by relative depth. Its second part, which drops
    KV entries of the early layers after prefill, saves no prefill work and is left out.
    """

    name: ClassVar[str] = "fastkv"
    paper: ClassVar[str] = "FastKV, arXiv 2502.01068 (our reimplementation)"
    knobs: ClassVar[type[FastKVKnobs]] = FastKVKnobs
    one_step: ClassVar[bool] = True

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(steps=(PruneStep(at_depth(16 / 32, layers), 0.2),), method=cls.name, query_window=8)

    def score(self, view: PruneView) -> Tensor:
        pool = read_knobs(FastKVKnobs, self.config).pool
        received = attention_received(view.queries(self.prompt.blocks.window), view.keys(), view.softmax)
        return F.max_pool1d(received[None], pool, stride=1, padding=pool // 2)[0].sum(0)
