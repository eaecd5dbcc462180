"""A run as files: figures as PNG, tables as CSV, everything as JSON, all of it in one archive."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sliminfer.engine.plain import plain
from sliminfer.engine.result import RunResult
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.bars import BarChart
from viz.figures.cards import cards_table
from viz.figures.chart import Chart
from viz.figures.compare import memory_stack, promised, ttft_split
from viz.figures.document import document_table
from viz.figures.grid import Grid
from viz.figures.kept_grid import kept_grid
from viz.figures.kept_map import KeptMap
from viz.figures.raster import figure_png
from viz.figures.reading import blocks_read
from viz.figures.replay import replay_table
from viz.figures.table import Table
from viz.figures.theme import LIGHT, Palette

Figure: TypeAlias = Grid | BarChart | Chart


def run_figures(run: RunResult, config: SlimConfig, evidence: Sequence[Span] = ()) -> dict[str, Figure]:
    """The figures that a run has data for, by file name without ending. `evidence` is in prompt tokens."""
    figures: dict[str, Figure] = {}
    full, pruned = run.full.metrics, run.pruned.metrics
    if full is not None and pruned is not None:
        figures["time_to_first_token"] = ttft_split(full, pruned)
        figures["memory"] = memory_stack(full, pruned)
    if pruned is not None and (read := blocks_read(pruned)) is not None:
        figures["blocks_read"] = read
    if run.comparison is not None:
        figures["speed_up"] = promised(run.comparison)
    if run.pruned.prompt is not None:
        figures["kept_tokens"] = kept_grid(KeptMap.from_side(run.pruned, config, evidence))
    return figures


def run_tables(run: RunResult, config: SlimConfig, figures: Mapping[str, Figure]) -> dict[str, Table]:
    """The tables of `figures` and those that stand without a drawing, by file name without ending."""
    tables = {"figures": cards_table(run), **{name: figure.table for name, figure in figures.items()}}
    if all(side.pieces for side in run.sides):
        tables["answer_times"] = replay_table(run)
    if run.pruned.prompt is not None:
        tables["document"] = document_table(KeptMap.from_side(run.pruned, config), run.pruned.prompt)
    return tables


def json_bytes(data: Any) -> bytes:
    """Plain data as UTF-8 JSON that every reader accepts: NaN and infinity become null."""
    return json.dumps(plain(data), ensure_ascii=False, indent=2, allow_nan=False).encode("utf-8")


def csv_bytes(table: Table) -> bytes:
    """A table as UTF-8 CSV. Text that a spreadsheet would run as a formula is kept from it by an apostrophe."""
    frame = table.frame().map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" else cell)
    return bytes(frame.to_csv(index=False).encode("utf-8"))


def png_bytes(figure: Figure, palette: Palette = LIGHT) -> bytes:
    """A figure as PNG."""
    return figure_png(figure, palette)


def archive(files: Mapping[str, bytes]) -> bytes:
    """Files by name as one ZIP; the same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def run_json(run: RunResult, config: SlimConfig, model: str, asked: Mapping[str, Any] | None = None) -> bytes:
    """The run as JSON. `asked` says what it is about, and becomes the key of that name."""
    told = run.to_dict(model, config)
    return json_bytes(told if asked is None else {"asked": dict(asked), **told})


def run_files(
    run: RunResult,
    config: SlimConfig,
    model: str,
    evidence: Sequence[Span] = (),
    extra: Mapping[str, Figure] | None = None,
    asked: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """`run.json`, a PNG of each figure and a CSV of each table, by file name; `extra` adds figures.

    `asked`: see `run_json`.
    """
    figures = {**run_figures(run, config, evidence), **(extra or {})}
    files = {"run.json": run_json(run, config, model, asked)}
    files |= {f"{name}.png": png_bytes(figure) for name, figure in figures.items()}
    return files | {f"{name}.csv": csv_bytes(table) for name, table in run_tables(run, config, figures).items()}
