"""CLAA (arXiv 2602.16054): a token's rank from several layers together, since in any one of them it may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import Scoring
from sliminfer.selectors.base import PruneView, at_depth, read_knobs
from sliminfer.selectors.options import check_count, check_pool
from sliminfer.selectors.tokenwise import TokenSelector, attention_received


@dataclass(frozen=True)
class ClaaKnobs:
    """`layers`: how many before the cut are brought together; `pool`: neighbours (odd) that share the highest score."""

    layers: int = 4
    pool: int = 7

    def __post_init__(self) -> None:
        check_count("layers", self.layers, least=1)
        check_pool(self.pool)


class Claa(TokenSelector):
    """Cross-layer attention aggregation with a cut as FastKV's: our reimplementation.

    A token's score in one layer is FastKV's: the softmax attention of the last `query_window` queries, summed over
    them, max-pooled over `pool` neighbours and summed over heads. CLAA takes the mean of it over the `layers` layers
    before the cut. How many layers, and that it is their mean, are our choice. Dropping KV of the early layers
    after prefill saves no prefill work and is left out, as for `fastkv`.

    Steps: one, in the middle of the model with a fifth going on, as for `fastkv`.
    """

    name: ClassVar[str] = "claa"
    paper: ClassVar[str] = "CLAA, arXiv 2602.16054 (our reimplementation)"
    knobs: ClassVar[type[Any]] = ClaaKnobs
    one_step: ClassVar[bool] = True

    @classmethod
    def looks_back(cls, config: SlimConfig, layer: int) -> int:
        return read_knobs(ClaaKnobs, config).layers

    @classmethod
    def scorings(cls, config: SlimConfig, blocks: BlockMap, alive: int) -> tuple[Scoring, ...]:
        cut = config.steps[0].layer
        return (Scoring(blocks.window, alive),) * min(cut, read_knobs(ClaaKnobs, config).layers)

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(steps=(PruneStep(at_depth(16 / 32, layers), 0.2),), method=cls.name, query_window=8)

    def score(self, view: PruneView) -> Tensor:
        pool = read_knobs(ClaaKnobs, self.config).pool
        total = torch.zeros(len(view.alive), device=view.alive.device)
        for layer in view.behind:
            received = attention_received(layer.queries(self.prompt.blocks.window), layer.keys(), layer.softmax)
            total += F.max_pool1d(received[None], pool, stride=1, padding=pool // 2)[0].sum(0).to(total.device)
        return total / len(view.behind)
