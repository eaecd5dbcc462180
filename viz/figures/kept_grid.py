"""The kept-token map as a plain `Grid`: what is exported as PNG and printed in a report, where nothing moves."""

from __future__ import annotations

from viz.figures.grid import SHARES, Grid, Strip, share_levels
from viz.figures.kept import kept_table
from viz.figures.kept_map import KeptMap, kept_tile
from viz.figures.words import percent, plural

WIDTH = 1600  # columns; at least as many as a printed page can show


def kept_grid(kept: KeptMap, title: str = "Kept tokens") -> Grid:
    """The whole map, with strips for sinks, local window, question and evidence, and the share of each stage."""
    tile = kept_tile(kept, (0, kept.layers), (0, kept.tokens), WIDTH)
    regions = kept.regions
    strips = (
        Strip("always kept", (("plain", regions.sinks), ("fresh", regions.local))),
        Strip("question", (("warm", regions.question),)),
        Strip("evidence", tuple(("ink", span) for span in regions.evidence)),
    )
    note = f"{plural(kept.tokens, 'token')} across, {plural(kept.layers, 'layer')} down."
    return Grid(
        title=title,
        note=note,
        cells=share_levels(tile.fractions),
        levels=SHARES,
        rows=tuple(map(str, range(kept.layers))),
        row_axis="layer",
        column_axis=f"original position, {plural(tile.bin, 'token')} per column",
        start=0,
        end=tile.extent,
        legend=(
            ("kept", "kept"),
            ("dropped", "dropped"),
            ("plain", "sinks"),
            ("fresh", "local window"),
            ("warm", "question, prune step"),
            *((("ink", "evidence"),) if regions.evidence else ()),
        ),
        table=kept_table(kept),
        rules=tuple((layer, f"prune {layer}") for layer in kept.ruled),
        remarks=tuple((stage.first, stage.end, percent(stage.tokens / kept.tokens)) for stage in kept.stages),
        strips=tuple(strip for strip in strips if any(end > start for _, (start, end) in strip.spans)),
        below=("layers survived", share_levels(tile.survived)),
    )
