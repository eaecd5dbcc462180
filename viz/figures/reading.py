"""How much of the prompt the layers that read it all attended to, where they read chosen blocks of it."""

from __future__ import annotations

from sliminfer.engine.metrics import RunMetrics
from viz.figures.bars import Bar, BarChart, Group, Segment
from viz.figures.table import Table
from viz.figures.words import escape, percent

DENSE, SPARSE = "plain", "kept"  # colour roles: what dense reading would take, and what was read


def blocks_read(metrics: RunMetrics) -> BarChart | None:
    """The share of its causal blocks that each layer read, those that read less than all; None where none did."""
    shares = [(layer, share) for layer, share in enumerate(metrics.blocks_read) if share < 1.0]
    if not shares:
        return None
    bars = tuple(
        Bar(f"layer {layer}", (Segment(share, SPARSE, "read"), Segment(1 - share, DENSE, "not read")), percent(share))
        for layer, share in shares
    )
    mean = sum(share for _, share in shares) / len(shares)
    return BarChart(
        "Blocks that were read",
        f"Sparse reading: of all blocks up to its own, a block of the prompt attended to {percent(mean)} on average.",
        (Group("", bars),),
        ((SPARSE, "read"), (DENSE, "not read")),
        Table.of(
            "Share of the blocks that each layer attended to",
            ("Layer", "Blocks read"),
            [(layer, percent(share)) for layer, share in enumerate(metrics.blocks_read)],
        ),
    )


def reading_html(metrics: RunMetrics) -> str:
    """The figure, or why sparse reading was off where it was asked for; empty where it was not."""
    chart = blocks_read(metrics)
    if chart is not None:
        return chart.html()
    if not metrics.dense_because:
        return ""
    return f'<section class="fig"><h3>Dense reading</h3><p>{escape(metrics.dense_because)}</p></section>'
