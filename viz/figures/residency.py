"""The KV cache while the answer is written: which blocks are on the device, and what that costs and saves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sliminfer.cache.planner import Residency
from sliminfer.cache.timeline import StageTimeline, Timeline
from viz.figures.chart import Axis, Chart, Dash, Line, values
from viz.figures.grid import Grid, Level
from viz.figures.table import Cell, Table
from viz.figures.words import percent, plural, seconds, size

_ROWS = 48  # rows per stage; where a stage has more blocks, a row stands for several
_LOADING = 255
_LEVELS: tuple[Level, ...] = (*(("kept", level / 254) for level in range(255)), ("warm", 1.0))


def residency_grid(timeline: Timeline) -> Grid:
    """Blocks down (grouped by stage, in document order), decode steps across: on the device, loading, on the host."""
    parts = [_stage_cells(stage) for stage in timeline.stages]
    firsts = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).tolist()
    shares = [float(np.mean(stage.states != Residency.HOST)) for stage in timeline.stages]
    steps = len(timeline.device_bytes)
    return Grid(
        title="Where the blocks are",
        note=in_words(timeline),
        cells=np.concatenate(parts) if parts else np.zeros((1, steps), np.uint8),
        levels=_LEVELS,
        rows=(),
        row_axis="blocks",
        column_axis="decode step (0: after the prompt)",
        start=0,
        end=steps,
        legend=(("kept", "on the device"), ("warm", "loading"), ("dropped", "on the host")),
        table=residency_table(timeline),
        rules=tuple((first, _layers(stage)) for first, stage in zip(firsts, timeline.stages, strict=False)),
        remarks=tuple(
            (first, end, percent(share)) for first, end, share in zip(firsts, firsts[1:], shares, strict=False)
        ),
    )


def bytes_chart(timeline: Timeline) -> Chart:
    """KV bytes on device and host by decode step, against the cache of the unpruned model."""
    step = np.arange(len(timeline.device_bytes), dtype=np.float64)
    series: tuple[tuple[str, NDArray[np.int64], str, Dash], ...] = (
        ("full model", timeline.full_bytes, "plain", "dash"),
        ("on the device", timeline.device_bytes, "kept", "solid"),
        ("on the host", timeline.host_bytes, "warm", "dot"),
    )
    rows: list[tuple[Cell, ...]] = [
        (int(at), *(size(float(data[int(at)])) for _, data, _, _ in series), size(float(timeline.moved_bytes[int(at)])))
        for at in step
    ]
    return Chart(
        title="KV cache by decode step",
        note=f"At the last step the device holds {_saved(timeline)} less than the full model’s cache.",
        x=Axis("decode step"),
        y=Axis("MiB", low=0.0),
        marks=tuple(
            Line(name, step, values(data) / 2**20, role, dash, steps=True) for name, data, role, dash in series
        ),
        table=Table.of(
            "KV bytes by decode step", ("Step", "Full model", "On the device", "On the host", "Loaded"), rows
        ),
    )


def residency_table(timeline: Timeline) -> Table:
    """One row per stage: layers, blocks, how many were on the device on average, looks and loads."""
    rows = []
    for stage in timeline.stages:
        blocks = len(stage.extents)
        resident = float((stage.states != Residency.HOST).sum(0).mean()) if blocks else 0.0
        rows.append(
            (
                _layers(stage),
                blocks,
                round(resident, 1),
                len(stage.pinned),
                int(np.isfinite(stage.overlap).sum()),
                int((stage.states == Residency.LOADING).sum()),
                stage.note or "managed",
            )
        )
    return Table.of(
        "Residency by stage",
        ("Stage", "Blocks", "On the device, mean", "Pinned", "Looks", "Blocks loaded", "Note"),
        rows,
    )


def in_words(timeline: Timeline) -> str:
    """Swaps, bytes moved and how much of the transfer was hidden, in one or two sentences."""
    swaps = timeline.swaps
    if not swaps:
        return "The working set never changed: nothing was loaded while the answer was written."
    text = f"{plural(swaps, 'swap')} loaded {size(float(timeline.moved_bytes.sum()))}"
    hidden = timeline.hidden
    if math.isfinite(hidden):
        text += f"; {percent(hidden)} of {seconds(float(timeline.transfer_s.sum()))} transfer ran beside the compute"
    return f"{text}{' (on a simulated link).' if timeline.simulated else '.'}"


def _stage_cells(stage: StageTimeline) -> NDArray[np.uint8]:
    """Level of each drawn row [rows, steps + 1]: share of its blocks on the device, or loading if any is."""
    blocks = len(stage.extents)
    bounds = np.unique(np.linspace(0, blocks, min(blocks, _ROWS) + 1).astype(int))
    if len(bounds) < 2:
        return np.zeros((0, stage.states.shape[1]), np.uint8)
    resident = np.add.reduceat(stage.states == Residency.DEVICE, bounds[:-1], axis=0, dtype=np.int64)
    loading = np.add.reduceat(stage.states == Residency.LOADING, bounds[:-1], axis=0, dtype=np.int64)
    level = np.rint(254 * resident / np.diff(bounds)[:, None]).astype(np.uint8)
    return np.where(loading > 0, np.uint8(_LOADING), level)


def _layers(stage: StageTimeline) -> str:
    last = stage.end_layer - 1
    return f"layers {stage.first_layer}–{last}" if last > stage.first_layer else f"layer {last}"


def _saved(timeline: Timeline) -> str:
    full = float(timeline.full_bytes[-1])
    return percent(1 - float(timeline.device_bytes[-1]) / full) if full else percent(0.0)
