"""What sparse reading will compute, before anything runs."""

from __future__ import annotations

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import LayerRead
from sliminfer.schedule.reading import Grid, SparseReading, sparse_layers
from sliminfer.schedule.shapes import ModelShape
from sliminfer.sparse import chooser_class


def planned_reads(config: SlimConfig, blocks: BlockMap, shape: ModelShape) -> dict[int, LayerRead]:
    """For each layer that will read the prompt of `blocks` sparsely, what it computes.

    Exact for the rule "share"; the most it can be for the others, and where layers share a choice.
    """
    layers = sparse_layers(config, blocks.tokens, shape)
    if not layers:
        return {}
    reading = SparseReading.of(config)
    grid = Grid.of(reading, blocks)
    pairs = grid.pairs(grid.counts(reading.share if reading.rule == "share" else 1.0))
    return dict.fromkeys(layers, LayerRead(pairs, chooser_class(reading.chooser).products(grid)))
