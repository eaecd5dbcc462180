"""SlimInfer (arXiv 2508.06447): keep the blocks that the end of the prompt attends to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from sliminfer.errors import ConfigError
from sliminfer.ops.dispatch import block_scores, unit_keys
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import Scoring
from sliminfer.schedule.presets import DEFAULT_PRESET
from sliminfer.selectors.base import Attention, PromptView, PruneView, read_knobs
from sliminfer.selectors.blockwise import BlockSelector
from sliminfer.selectors.options import check_share

# In this order they carry a score fifteen blocks far on either side, each block's share being that of its distance.
_STRIDES = (1, 2, 4, 8)


@dataclass(frozen=True)
class SlimInferKnobs:
    """Two steps beyond the paper; at 0 both are off.

    Attributes:
        carry: what a block's score at earlier steps still counts, from 0 to 1. Only some layers attend to what
            is asked, and a later step behind one that does not would throw away what an earlier one had found.
        half_life_before, half_life_after: tokens over which a block's score, as it counts for those before it and
            for those after it, halves. Attention meets a statement where it names what was asked, and what it says
            of that runs on from there.
    """

    carry: float = 1.0
    half_life_before: float = 8.0
    half_life_after: float = 32.0

    def __post_init__(self) -> None:
        check_share("carry", self.carry)
        for name in ("half_life_before", "half_life_after"):
            length = getattr(self, name)
            if isinstance(length, bool) or not isinstance(length, int | float) or not 0 <= length < math.inf:
                raise ConfigError(f"Option {name} is {length!r}: it is a number of tokens, 0 for none.")


class SlimInfer(BlockSelector):
    """Block-wise pruning by the attention of the local queries.

    A unit's score is the highest softmax attention (by `aggregate`, or the mean) that it receives over the queries
    of the question and the heads, in the layer just run or in the one about to run, whichever gives more. A block
    counts as its best unit, or as a block nearby less half for each `half_life_after` of tokens that it comes after
    that, `half_life_before` that it comes before, and its best score of all steps so far stands. The best blocks
    within the budget go on, forced blocks first.

    Beyond the paper: with `unit_size` 1, the default, each key stands for itself, where the paper takes the mean
    key of several; and the second layer, the neighbours and the earlier steps have a say.

    Steps: at each step's layer its keep of the prompt goes on, in whole blocks.
    """

    name: ClassVar[str] = "sliminfer"
    paper: ClassVar[str] = "SlimInfer, arXiv 2508.06447"
    knobs: ClassVar[type[Any]] = SlimInferKnobs

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        self.options: Any = read_knobs(self.knobs, config)
        self._best = torch.zeros(len(prompt.blocks))

    @classmethod
    def scorings(cls, config: SlimConfig, blocks: BlockMap, alive: int) -> tuple[Scoring, ...]:
        read = {"previous": (False,), "own": (True,), "both": (False, True)}[config.score_layer]
        return tuple(Scoring(cls.query_window(config, blocks), alive, projected) for projected in read)

    def score(self, view: PruneView) -> Tensor:
        device = view.alive.device
        found = reduce(torch.maximum, [self.by_layer(view, layer).to(device) for layer in view.layers])
        # What is kept by force, the question first of all, is attended to and says nothing of what is around it.
        near = self.spread(found.index_fill(0, self.forced, 0.0))
        earlier = self.options.carry * self._best.to(device, non_blocking=True)
        self._best = torch.maximum(torch.maximum(found, near), earlier)
        return self._best[self.alive]

    def by_layer(self, view: PruneView, layer: Attention) -> Tensor:
        """Score of each block of the prompt by the attention of one layer, fp32 [blocks], 0 for those gone."""
        unit = self.config.unit_size
        queries, keys = layer.queries(self.prompt.blocks.window), layer.keys()
        # Blocks alive are whole, so units can be cut in compacted order: only the prompt's last is partial.
        units = unit_keys(keys, unit) if unit > 1 else keys
        return block_scores(
            queries,
            units,
            (view.alive[::unit] // self.config.block_size).to(units.device),
            len(self.prompt.blocks),
            scale=1.0 / math.sqrt(queries.shape[-1]),
            aggregate=self.config.aggregate,
            unit_size=unit,
            tokens=keys.shape[1],
            softmax=layer.softmax,
        )

    def spread(self, scores: Tensor) -> Tensor:
        """The best of each block's score and what its neighbours lend it, fp32 [blocks]."""
        ahead, behind = (
            0.5 ** (self.config.block_size / length) if length else 0.0
            for length in (self.options.half_life_after, self.options.half_life_before)
        )
        if not ahead and not behind:
            return scores
        for stride in _STRIDES:
            if stride < len(scores):
                after = pad(scores * ahead**stride, (stride, -stride))
                before = pad(scores * behind**stride, (-stride, stride))
                scores = torch.maximum(scores, torch.maximum(after, before))
        return scores

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig.preset(DEFAULT_PRESET, layers, method=cls.name)
