"""SlimInfer (arXiv 2508.06447): keep the blocks that the end of the prompt attends to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.ops.dispatch import block_scores, choose_blocks, runs_triton, unit_keys
from sliminfer.ops.reference import FORCED, LAST, spread
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import Scoring
from sliminfer.schedule.presets import DEFAULT_PRESET
from sliminfer.selectors.base import Attention, PromptView, PruneView, Selection, read_knobs
from sliminfer.selectors.blockwise import BlockSelector
from sliminfer.selectors.options import check_count, check_share

# Of more blocks, 128K tokens of the usual size, the choice is made launch by launch on a GPU too.
_MOST_AT_ONCE = 4096
_TINY = 1e-12  # attention; above what fp32 loses beside 1


@dataclass(frozen=True)
class SlimInferKnobs:
    """Steps beyond the paper; at 0 they are off.

    Attributes:
        across: how many layers must agree: a block's score is the geometric mean of the best `across` that it had
            in any layer so far, those between the prune steps included; at 0 the layers beside a step alone are
            read, and the better one counts.
        carry: what a block's score at earlier steps still counts, from 0 to 1. Only some layers attend to what
            is asked, and a later step behind one that does not would throw away what an earlier one had found.
        half_life_before, half_life_after: tokens over which a block's score, as it counts for those before it and
            for those after it, halves. Attention meets a statement where it names what was asked, and what it says
            of that runs on from there.
    """

    carry: float = 1.0
    half_life_before: float = 8.0
    half_life_after: float = 32.0
    across: int = 0

    def __post_init__(self) -> None:
        check_share("carry", self.carry)
        check_count("across", self.across, least=0)
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
        self._tops = torch.zeros(0, len(prompt.blocks))
        self._marks = torch.zeros(len(prompt.blocks), dtype=torch.int32)
        self._marks[self.gone], self._marks[self.forced] = LAST, FORCED
        self._owners: tuple[Tensor, Tensor] | None = None

    @classmethod
    def looks_back(cls, config: SlimConfig, layer: int) -> int:
        return layer if read_knobs(cls.knobs, config).across else 0

    @classmethod
    def scorings_at(cls, layer: int, config: SlimConfig, blocks: BlockMap, alive: int) -> tuple[Scoring, ...]:
        beside = super().scorings_at(layer, config, blocks, alive)
        if not read_knobs(cls.knobs, config).across:
            return beside
        since = max((step.layer for step in config.steps if step.layer < layer), default=0)
        between = layer - since - (config.score_layer != "own")  # the one just run is among those beside
        return (Scoring(cls.query_window(config, blocks), alive),) * between + beside

    @classmethod
    def scorings(cls, config: SlimConfig, blocks: BlockMap, alive: int) -> tuple[Scoring, ...]:
        read = {"previous": (False,), "own": (True,), "both": (False, True)}[config.score_layer]
        return tuple(Scoring(cls.query_window(config, blocks), alive, projected) for projected in read)

    def select(self, view: PruneView) -> Selection | None:
        blocks, device = self.prompt.blocks, view.alive.device
        budget = blocks.kept(view.step)
        at_once = runs_triton("choose_blocks", device) and len(blocks) <= _MOST_AT_ONCE
        if budget >= len(self.alive) or not at_once or not view.layers:  # before layer 0 no layer has scored
            return super().select(view)
        found = self.found(view)
        self._marks = self._marks.to(device, non_blocking=True)
        self.alive, kept, scores, self._best, lowest = choose_blocks(
            found[0],
            found[-1],
            self._best.to(device, non_blocking=True),
            self.alive.to(device, non_blocking=True),
            self._marks,
            budget,
            blocks.block_size,
            blocks.tokens,
            self.options.carry,
            *self._lending(),
        )
        return Selection(kept, scores, lowest if budget > len(blocks.forced) else None)

    def score(self, view: PruneView) -> Tensor:
        device = view.alive.device
        found = reduce(torch.maximum, self.found(view))
        # What is kept by force, the question first of all, is attended to and says nothing of what is around it.
        near = self.spread(found.index_fill(0, self.forced, 0.0))
        earlier = self.options.carry * self._best.to(device, non_blocking=True)
        self._best = torch.maximum(torch.maximum(found, near), earlier)
        return self._best[self.alive]

    def found(self, view: PruneView) -> list[Tensor]:
        """Scores of each block of the prompt, the best of which counts, fp32 [blocks] each."""
        device = view.alive.device
        if not self.options.across:
            return [self.by_layer(view, layer).to(device) for layer in view.layers]
        beside = view.layers[-1:] if self.config.score_layer != "previous" else ()
        new = torch.stack([self.by_layer(view, layer).to(device) for layer in (*view.behind, *beside)])
        # What a layer gives no attention at all is as good as the smallest number: one layer alone can rule it out.
        self._tops = torch.cat([self._tops.to(device, non_blocking=True), new.clamp_min(_TINY)])
        self._tops = self._tops.topk(min(self.options.across, len(self._tops)), 0).values
        return [self._tops.log().mean(0).exp()]

    def by_layer(self, view: PruneView, layer: Attention) -> Tensor:
        """Score of each block of the prompt by the attention of one layer, fp32 [blocks], 0 for those gone."""
        unit = self.config.unit_size
        queries, keys = layer.queries(self.prompt.blocks.window), layer.keys()
        # Blocks alive are whole, so units can be cut in compacted order: only the prompt's last is partial.
        units = unit_keys(keys, unit) if unit > 1 else keys
        return block_scores(
            queries,
            units,
            self._owner(view.alive).to(units.device),
            len(self.prompt.blocks),
            scale=1.0 / math.sqrt(queries.shape[-1]),
            aggregate=self.config.aggregate,
            unit_size=unit,
            tokens=keys.shape[1],
            softmax=layer.softmax,
        )

    def _owner(self, alive: Tensor) -> Tensor:
        """The block of each unit of the tokens at `alive`, int64 [units]; both layers of a step have the same."""
        if self._owners is None or self._owners[0] is not alive:
            self._owners = alive, alive[:: self.config.unit_size] // self.config.block_size
        return self._owners[1]

    def _lending(self) -> tuple[float, float]:
        """What a block lends the next one and the one before it, of its score."""
        after, before = (
            0.5 ** (self.config.block_size / length) if length else 0.0
            for length in (self.options.half_life_after, self.options.half_life_before)
        )
        return after, before

    def spread(self, scores: Tensor) -> Tensor:
        """The best of each block's score and what its neighbours lend it, fp32 [blocks]."""
        ahead, behind = self._lending()
        return spread(scores, ahead, behind)

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig.preset(DEFAULT_PRESET, layers, method=cls.name)
