"""Which prompt position was alive at which layer, binned to any width: the data behind the kept-token map.

One row of booleans per stage is all there is to know (layers of a stage run over the same positions), and
its running sums give the kept fraction of any bin of any zoom in constant time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sliminfer.engine.events import BlocksPruned
from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.grid import cells_png, share_levels


@dataclass(frozen=True)
class Stage:
    """Layers [first, end) that ran over the same `tokens` positions; `pruning` is the step that began it."""

    first: int
    end: int
    tokens: int
    pruning: BlocksPruned | None


@dataclass(frozen=True)
class Regions:
    """Ranges of positions that a reader wants to find again; empty where there are none."""

    sinks: Span = (0, 0)
    local: Span = (0, 0)
    question: Span = (0, 0)
    evidence: tuple[Span, ...] = ()
    by_hand: tuple[tuple[Span, ...], tuple[Span, ...]] = ((), ())  # kept, dropped

    @classmethod
    def of(
        cls,
        tokens: int,
        config: SlimConfig,
        question: Span = (0, 0),
        evidence: Sequence[Span] = (),
        by_hand: tuple[tuple[Span, ...], tuple[Span, ...]] = ((), ()),
    ) -> Regions:
        """Regions of a prompt of `tokens` tokens: sinks and local window in whole blocks, as they are kept."""
        size = config.block_size
        return cls(
            sinks=(0, min(tokens, config.sink * size)),
            local=(max(0, tokens - config.local) // size * size, tokens),
            question=question,
            evidence=tuple(evidence),
            by_hand=by_hand,
        )


@dataclass(frozen=True)
class KeptMap:
    """Survivors of one run.

    Attributes:
        tokens: prompt length N.
        layers: decoder layers L of the model.
        done: layers already run; the map knows nothing of the others.
        stages: the stages so far, covering layers 0 to `done`.
        alive: whether each position runs in each stage, bool [stages, N].
        regions: sinks, local window, question, evidence.
        sums: running sums of `alive` with a leading zero, int32 [stages, N + 1].
    """

    tokens: int
    layers: int
    done: int
    stages: tuple[Stage, ...]
    alive: NDArray[np.bool_] = field(repr=False)
    regions: Regions = Regions()
    sums: NDArray[np.int32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sums = np.zeros((len(self.stages), self.tokens + 1), np.int32)
        np.cumsum(self.alive, axis=1, dtype=np.int32, out=sums[:, 1:])
        object.__setattr__(self, "sums", sums)

    @classmethod
    def of(
        cls,
        tokens: int,
        layers: int,
        pruned: Sequence[BlocksPruned],
        regions: Regions = Regions(),
        done: int | None = None,
    ) -> KeptMap:
        """The map after the prune steps `pruned`; `done` is the number of layers run, all by default.

        A step at layer 0 is that of a method which reads the prompt, prunes, and reads what is left from the
        start: the map is of the second reading.
        """
        done = layers if done is None else done
        steps: list[BlocksPruned | None] = [step for step in pruned if step.layer < done]
        if not (steps and steps[0] is not None and steps[0].layer == 0):
            steps.insert(0, None)
        firsts = [0 if step is None else step.layer for step in steps]
        alive = np.ones((len(steps), tokens), np.bool_)
        for row, step in zip(alive, steps, strict=True):
            if step is not None:
                row[:] = False
                row[step.kept] = True
        stages = tuple(
            Stage(first, end, int(row.sum()), step)
            for first, end, row, step in zip(firsts, [*firsts[1:], done], alive, steps, strict=True)
        )
        return cls(tokens, layers, done, stages, alive, regions)

    @classmethod
    def from_side(
        cls,
        side: SideResult,
        config: SlimConfig,
        evidence: Sequence[Span] = (),
        by_hand: tuple[tuple[Span, ...], tuple[Span, ...]] = ((), ()),
    ) -> KeptMap:
        """The map of a side so far; its prompt must be ready.

        On a GPU the engine tells what was kept only after the last layer, so layers that ran over fewer
        tokens than is known to have been kept count as not run yet.
        """
        if side.prompt is None:
            raise ValueError("the side has no prompt yet: draw its map after PromptReady")
        tokens = len(side.prompt)
        regions = Regions.of(tokens, config, side.prompt.question, evidence, by_hand)
        kept = {step.layer: len(step.kept) for step in side.pruned}
        told, done = tokens, 0
        for layer, alive in enumerate(side.alive):
            told = kept.get(layer, told)
            if alive != told:
                break
            done = layer + 1
        return cls.of(tokens, side.layers, side.pruned, regions, done)

    @property
    def survived(self) -> NDArray[np.int32]:
        """Layers each position ran through, int32 [N]."""
        lengths = np.array([stage.end - stage.first for stage in self.stages], np.int32)
        return np.asarray(lengths @ self.alive.astype(np.int32), np.int32)

    @property
    def tokens_per_layer(self) -> list[int]:
        """Positions alive at each layer that has run."""
        return [stage.tokens for stage in self.stages for _ in range(stage.first, stage.end)]

    @property
    def ruled(self) -> list[int]:
        """Layers at which a rule is drawn: the prune steps, unless they are so many that rules would hide all."""
        steps = [stage.first for stage in self.stages if stage.pruning is not None]
        return steps if 3 * len(steps) <= self.layers + 3 else []

    def stage_at(self, layer: int) -> int:
        """Index of the stage that layer `layer` belongs to; raises IndexError for a layer not run."""
        for index, stage in enumerate(self.stages):
            if stage.first <= layer < stage.end:
                return index
        raise IndexError(f"layer {layer} has not been run")


@dataclass(frozen=True)
class Tile:
    """Part of a map at a chosen width.

    Attributes:
        layers: half-open range of layers.
        positions: half-open range of positions.
        bin: positions per column; only the last column may hold fewer.
        edges: first position of each column and the end of the last, int [columns + 1].
        fractions: kept fraction of each cell, float32 [layers, columns]; NaN for layers not run.
        survived: mean layers survived of each column over the model's layers, float32 [columns].
    """

    layers: Span
    positions: Span
    bin: int
    edges: NDArray[np.int64]
    fractions: NDArray[np.float32]
    survived: NDArray[np.float32]

    @property
    def extent(self) -> int:
        """Positions that the drawn width stands for: whole columns, so at most one bin more than there are."""
        return self.bin * (len(self.edges) - 1)

    def cells_png(self) -> bytes:
        """`fractions` as a PNG of one pixel per cell: blue, opaque where all is kept, clear where nothing is."""
        return cells_png(share_levels(self.fractions))

    def survived_png(self) -> bytes:
        """`survived` as a PNG one pixel high."""
        return cells_png(share_levels(self.survived[None, :]))


def kept_tile(kept: KeptMap, layer_range: Span, position_range: Span, width: int) -> Tile:
    """The part of `kept` in the two half-open ranges, in at most `width` columns of whole positions.

    Ranges are clipped to the map; an empty one becomes one layer or one position. Cost is
    O(stages x columns), whatever the prompt's length.
    """
    low_layer, high_layer = _clip(layer_range, kept.layers)
    start, end = _clip(position_range, kept.tokens)
    size = max(1, math.ceil((end - start) / max(1, width)))
    edges = np.append(np.arange(start, end, size), end)
    rows = np.diff(kept.sums[:, edges], axis=1) / np.diff(edges)
    fractions = np.full((high_layer - low_layer, len(edges) - 1), np.nan, np.float32)
    survived = np.zeros(len(edges) - 1, np.float32)
    for stage, row in zip(kept.stages, rows, strict=True):
        fractions[max(0, stage.first - low_layer) : max(0, stage.end - low_layer)] = row
        survived += (row * ((stage.end - stage.first) / kept.layers)).astype(np.float32)
    return Tile((low_layer, high_layer), (start, end), size, edges, fractions, np.minimum(survived, 1))


def _clip(span: Span, length: int) -> Span:
    start = min(max(0, span[0]), length - 1)
    return start, min(max(start + 1, span[1]), length)
