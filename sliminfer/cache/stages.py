"""Stages and their survivors: which layers share a set of prompt tokens, and how it is cut into blocks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.sight import scorers_of


@dataclass(frozen=True)
class Stage:
    """The layers `first` to `end - 1`, which hold the same prompt tokens; stage 0 are the preserve layers."""

    index: int
    first: int
    end: int

    @property
    def layers(self) -> range:
        return range(self.first, self.end)


def stage_layout(prune_layers: Sequence[int], layers: int) -> tuple[Stage, ...]:
    """The stages of a model of `layers` layers with prune steps at the rising `prune_layers`."""
    bounds = [0, *prune_layers, layers]
    return tuple(Stage(index, first, end) for index, (first, end) in enumerate(pairwise(bounds)))


def scoring_layers(
    config: SlimConfig, stages: Sequence[Stage], seeing: Sequence[int] | None = None
) -> dict[int, int]:
    """Managed stage -> the layer whose queries and keys score its blocks in decode.

    As in prefill that is the last layer before the stage, or with `score_layer` "own" the stage's first. The
    preserve layers, where they are managed, are scored by the layer that scores the stage after them: a
    working set takes effect in the next step, so a deep layer may speak for those before it. Where only the layers
    `seeing` see the whole prompt, it is the last of them, as `schedule.sight` says.
    """
    if config.active is None or len(stages) < 2:
        return {}
    own = config.score_layer == "own"
    after = {stage.index: _scorer(stage.first, seeing, own) for stage in stages[1:]}
    # Where the first step is before layer 0 there are no preserve layers, and nothing is before its stage.
    return {0: after[1]} | after if config.active_preserve and stages[0].layers else after


def _scorer(first: int, seeing: Sequence[int] | None, own: bool) -> int:
    if not first:
        return first
    before = scorers_of(first, seeing, "own" if own else "previous").before
    return first if before is None else before


@dataclass(frozen=True)
class Survivors:
    """The prompt tokens of one stage, cut into blocks in compacted order; only the last may be partial.

    A method that keeps whole blocks of the prompt finds the same blocks here; one that keeps single tokens
    gets blocks of neighbours, so that every block but the last is full and slots need no lengths.

    Attributes:
        positions: ascending original positions.
        block_size: tokens per block.
        pinned: ascending ids of the blocks that hold a forced position, and the last block.
    """

    positions: tuple[int, ...]
    block_size: int
    pinned: tuple[int, ...]

    @classmethod
    def of(cls, positions: Sequence[int], block_size: int, forced: Iterable[Span]) -> Survivors:
        """The blocks of `positions`; `forced` are half-open spans of original positions, always resident."""
        held = tuple(positions)
        count = ceil(len(held) / block_size)
        pinned = {count - 1}
        for start, end in forced:
            inside = range(bisect_left(held, start), bisect_left(held, end))
            pinned.update(index // block_size for index in inside[::block_size])
            pinned.update(index // block_size for index in inside[-1:])
        return cls(held, block_size, tuple(sorted(pinned)))

    def __len__(self) -> int:
        return ceil(len(self.positions) / self.block_size)

    def span(self, block: int) -> Span:
        """Half-open range of compacted token indices of `block`."""
        start = block * self.block_size
        return start, min(len(self.positions), start + self.block_size)

    def extent(self, block: int) -> Span:
        """Half-open range of original positions from the first to the last token of `block`."""
        start, end = self.span(block)
        return self.positions[start], self.positions[end - 1] + 1

    def slots(self, active: float | int) -> int:
        """Blocks of the working set: a share of the survivors (float) or a token count (int), in whole blocks.

        Pinned blocks are resident in any case, and there are never more slots than blocks.
        """
        asked = ceil(active * len(self)) if isinstance(active, float) else ceil(active / self.block_size)
        return min(len(self), max(asked, len(self.pinned)))


def forced_spans(blocks: BlockMap) -> tuple[Span, ...]:
    """The spans of original positions that `blocks` always keeps: sinks, local window, question."""
    return tuple(blocks.span(block) for block in blocks.forced)


def check_attending(config: SlimConfig, attending: Sequence[bool]) -> None:
    """Raise ConfigError where `config` asks for a working set of a model whose layers do not all attend."""
    if config.active is not None and not all(attending):
        raise ConfigError(
            "Some layers of this model have a state and no keys, so that there is no working set to choose: leave "
            "active out."
        )


def check_active(config: SlimConfig, blocks: BlockMap) -> None:
    """Raise ConfigError where a token budget has no room for what is always kept.

    A share cannot be too small: the forced blocks of a short prompt may exceed it, as they may in prefill.
    """
    size = config.decode_block_size
    pinned = {block for start, end in forced_spans(blocks) for block in range(start // size, ceil(end / size))}
    if isinstance(config.active, int) and ceil(config.active / size) < len(pinned):
        raise ConfigError(
            f"active is {config.active} tokens, but {len(pinned)} blocks of {size} tokens are always kept (first "
            f"blocks, local window, question): raise active to {len(pinned) * size} or more."
        )
