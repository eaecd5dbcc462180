"""Sparse reading, in plain integers: which layers attend to chosen blocks only, and to how many of them.

Queries and keys of the prompt are cut into blocks of one size. A layer that reads sparsely attends, for each block of
queries, to some of the blocks of keys up to its own. Always among them: the first ones (attention sinks), the last
ones up to its own, and all of them for the blocks that hold the question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.shapes import ModelShape

Rule = Literal["share", "max", "mass"]
Heads = Literal["each", "group", "all"]


@dataclass(frozen=True)
class SparseReading:
    """The options of sparse reading.

    Attributes:
        chooser: who scores the blocks (`sliminfer.sparse.available()`).
        rule: how many are read. "share": of the blocks up to its own, each block of queries reads the best `share`;
            "max": those whose score is at least `threshold` times the best one's; "mass": the fewest whose scores make
            up `threshold` of the sum.
        share: see there; what is always read counts.
        threshold: see there; None for 0.1 of the best score, or 0.9 of the sum.
        block: tokens per block of queries and of keys.
        sink, local: blocks that are always read, from the first one on and up to the queries' own.
        heads: who chooses together: "each" query head for itself, the "group" of those that share keys, or "all".
        agree: a layer's choice serves the next one as well where it agrees with the choice before it by at least this
            share of its blocks; above 1 every layer chooses.
        from_tokens: shorter prompts are read densely; on an H100 choosing pays from 8,192 tokens on, on a CPU from
            2,048 (docs/sparse-reading.md).
    """

    chooser: str = "pooled"
    rule: Rule = "share"
    share: float = 0.25
    threshold: float | None = None
    block: int = 128
    sink: int = 1
    local: int = 2
    heads: Heads = "group"
    agree: float = 2.0
    from_tokens: int = 8192

    def __post_init__(self) -> None:
        for name, choices in (("rule", ("share", "max", "mass")), ("heads", ("each", "group", "all"))):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"Reading option {name} is {getattr(self, name)!r}: choose one of {', '.join(choices)}."
                )
        for name in ("share", "threshold"):
            value = getattr(self, name)
            if value is None and name == "threshold":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= 1.0:
                raise ConfigError(f"Reading option {name} is {value!r}: it is a share above 0 and up to 1.")
        if isinstance(self.agree, bool) or not isinstance(self.agree, int | float) or not self.agree >= 0.0:
            raise ConfigError(f"Reading option agree is {self.agree!r}: it is a share, or a number above 1 for never.")
        for name, least in (("sink", 0), ("local", 1), ("from_tokens", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"Reading option {name} is {value!r}: it must be a whole number of at least {least}.")
        if self.block not in BLOCKS:
            raise ConfigError(f"Reading option block is {self.block!r}: choose one of {', '.join(map(str, BLOCKS))}.")

    @classmethod
    def of(cls, config: SlimConfig) -> SparseReading:
        """The reading options of `config`; raises ConfigError for an unknown or wrong one."""
        known = [field.name for field in fields(cls)]
        for name in config.reading_options:
            if name not in known:
                raise ConfigError(f"Sparse reading has no option {name!r}: known are {', '.join(known)}.")
        return cls(**config.reading_options)


# Powers of two: what a kernel's tiles are.
BLOCKS = (16, 32, 64, 128)


@dataclass(frozen=True)
class Grid:
    """The blocks of queries and keys of one prompt.

    Attributes:
        tokens: prompt length.
        block: tokens per block; the last one may be partial.
        sink, local: blocks that are always read, see `SparseReading`.
        dense_from: the first block of queries that reads everything; `len(grid)` for none.
    """

    tokens: int
    block: int
    sink: int
    local: int
    dense_from: int

    @classmethod
    def of(cls, reading: SparseReading, blocks: BlockMap) -> Grid:
        """The grid of the prompt that `blocks` describes: its last `blocks.asking` positions read everything."""
        return cls(
            blocks.tokens, reading.block, reading.sink, reading.local, (blocks.tokens - blocks.asking) // reading.block
        )

    @classmethod
    def of_document(cls, reading: SparseReading, tokens: int) -> Grid:
        """The grid of `tokens` tokens that are read before any question: a last block that is not whole reads it all.

        So does the block in which a question begins, and each block chooses by what comes up to it: a prompt whose
        question begins here reads these tokens alike.
        """
        return cls(tokens, reading.block, reading.sink, reading.local, tokens // reading.block)

    def __len__(self) -> int:
        return -(-self.tokens // self.block)

    @property
    def choosing(self) -> int:
        """The first tokens, whose blocks choose what they read."""
        return self.dense_from * self.block

    @property
    def causal(self) -> int:
        """All pairs of a block of queries and a block of keys up to its own."""
        return len(self) * (len(self) + 1) // 2

    def counts(self, share: float) -> tuple[int, ...]:
        """Blocks of keys that each block of queries reads at `share`, what is always read included [blocks]."""
        found = []
        for own in range(len(self)):
            forced = min(own + 1, self.sink + self.local)
            wanted = math.ceil(share * (own + 1) - 1e-9)
            found.append(own + 1 if own >= self.dense_from else min(own + 1, max(forced, wanted)))
        return tuple(found)

    def pairs(self, counts: Sequence[float]) -> float:
        """Pairs of a query and a key where each block of queries reads `counts` blocks of keys, its own among them.

        `counts` may be of the last blocks alone: those before then read everything.
        """
        first = len(self) - len(counts)
        before = first * self.block
        found = before * (before + 1) / 2
        for own, count in enumerate(counts, first):
            rows = min(self.block, self.tokens - own * self.block)
            found += rows * self.block * (count - 1) + rows * (rows + 1) / 2
        return found


def sparse_layers(config: SlimConfig, tokens: int, shape: ModelShape) -> tuple[int, ...]:
    """The layers of a model that read a prompt of `tokens` sparsely under `config`, where its device can.

    They are those before the first prune step, where the prompt is long enough. Without one they are all but the last,
    of which the last token's row alone is computed. Layers with a window, and those that do not run by fused steps,
    read densely.
    """
    if config.reading == "dense" or not shape.fused or tokens < SparseReading.of(config).from_tokens:
        return ()
    end = min([shape.layers - 1, *(step.layer for step in config.steps)])
    return tuple(layer for layer in range(end) if shape.layer(layer).window is None)
