"""SlimInfer (arXiv 2508.06447): keep the blocks that the end of the prompt attends to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor

from sliminfer.config import SlimConfig
from sliminfer.errors import ConfigError
from sliminfer.metrics import Scoring
from sliminfer.ops import block_scores, unit_keys
from sliminfer.selectors.base import Attention, PromptView, PruneView, check_share, read_knobs
from sliminfer.selectors.blockwise import BlockSelector


@dataclass(frozen=True)
class SlimInferKnobs:
    """Two steps beyond the paper; at 0 both are off.

    Attributes:
        carry: what a block's score at earlier steps still counts, from 0 to 1. Only some layers attend to what
            is asked, and a later step behind one that does not would throw away what an earlier one had found.
        reach: how many tokens beyond its edges a block is scored by, None for half a block. Attention meets a
            statement in one place, but its words may run on into the next block.
    """

    carry: float = 1.0
    reach: int | None = None

    def __post_init__(self) -> None:
        check_share("carry", self.carry)
        if self.reach is not None and (isinstance(self.reach, bool) or not isinstance(self.reach, int)):
            raise ConfigError(f"Option reach is {self.reach!r}: it must be a whole number of tokens.")


class SlimInfer(BlockSelector):
    """Block-wise pruning by the attention of the local queries.

    A block's score is the largest softmax attention that any local query gives, in any head, to any of the
    block's units, or to one within `reach` tokens of it, in the layer just run or in the one about to run; the
    best score of all steps so far counts. The best blocks within the budget go on, forced blocks first. With
    `unit_size` 1, the default, each key stands for itself, a step beyond the paper's mean-key units; so is the
    second layer.

    Steps: at each step's layer its keep of the prompt goes on, in whole blocks.
    """

    name: ClassVar[str] = "sliminfer"
    paper: ClassVar[str] = "SlimInfer, arXiv 2508.06447"
    knobs: ClassVar[type[Any]] = SlimInferKnobs

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        self.options: Any = read_knobs(self.knobs, config)
        self._cell = cell_size(config, self.options.reach)
        self._best = torch.zeros(len(prompt.blocks))

    @classmethod
    def check(cls, config: SlimConfig) -> None:
        super().check(config)
        cell_size(config, read_knobs(cls.knobs, config).reach)

    @classmethod
    def scorings(cls, config: SlimConfig, alive: int) -> tuple[Scoring, ...]:
        read = {"previous": (False,), "own": (True,), "both": (False, True)}[config.score_layer]
        return tuple(Scoring(cls.query_window(config), alive, projected) for projected in read)

    def score(self, view: PruneView) -> Tensor:
        found = [self.by_layer(view, layer) for layer in view.layers]
        scores = reduce(torch.maximum, [each.to(found[0].device) for each in found])
        alive = self.alive.to(scores.device)
        self._best = self._best.to(scores.device, non_blocking=True)
        self._best[alive] = torch.maximum(scores, self.options.carry * self._best[alive])
        return self._best[alive]

    def by_layer(self, view: PruneView, layer: Attention) -> Tensor:
        """Score of each of the blocks alive by the attention of one layer, fp32 [alive]."""
        unit, size = self.config.unit_size, self.config.block_size
        per_block = size // self._cell
        queries, keys = layer.queries(self.config.query_window), layer.keys()
        # Blocks alive are whole, so units can be cut in compacted order: only the prompt's last is partial.
        units = unit_keys(keys, unit) if unit > 1 else keys
        first = view.alive[::unit]
        cells = torch.searchsorted(self.alive, first // size) * per_block + first % size // self._cell
        found = block_scores(
            queries,
            units,
            cells.to(units.device),
            len(self.alive) * per_block,
            scale=1.0 / math.sqrt(queries.shape[-1]),
            aggregate=self.config.aggregate,
            unit_size=unit,
            tokens=keys.shape[1],
        ).view(-1, per_block)
        scores = found.amax(1)
        if per_block > 1:
            adjacent = self.alive.to(found.device).diff() == 1
            scores[1:] = torch.maximum(scores[1:], adjacent * found[:-1, -1])
            scores[:-1] = torch.maximum(scores[:-1], adjacent * found[1:, 0])
        return scores


def cell_size(config: SlimConfig, reach: int | None) -> int:
    """Tokens per cell: a block is scored by its own cells and, where it has several, the adjacent one on each side.

    Raises:
        ConfigError: no whole number of cells of `reach` tokens makes a block, or units do not fit them.
    """
    block, unit = config.block_size, config.unit_size
    if reach is None:
        return block // 2 if block % 2 == 0 and block // 2 % unit == 0 and config.aggregate == "max" else block
    if reach == 0:
        return block
    if reach < 0 or reach >= block or block % reach or reach % unit or config.aggregate != "max":
        raise ConfigError(
            f"Option reach is {reach}: give a part of block_size {block} that holds whole units of {unit}, with "
            "aggregate max, or 0."
        )
    return reach
