"""`sliminfer sweep`: a grid over keep, prune layers and methods as one table, with its Pareto fronts."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sliminfer.commands import measuring, options
from sliminfer.schedule.presets import DEFAULT_PRESET

Keeps = Annotated[str, typer.Option("--keep", help="Shares kept at the first prune layer: 0.5,0.25,0.125.")]
Layers = Annotated[
    str | None,
    typer.Option(help="Sets of prune layers: 3,4,4+8; each further layer of one halves the keep (default: by depth)."),
]
Methods = Annotated[str, typer.Option(help="Comma-separated pruning methods.")]


def command(
    suite: measuring.Suites = "needle,multikey,quote",
    context: measuring.Contexts = "4096",
    keep: Keeps = "0.5,0.25,0.125,0.0625",
    layers: Layers = None,
    methods: Methods = "sliminfer",
    examples: measuring.Examples = 20,
    seed: measuring.Seed = 0,
    model: options.Model = "demo",
    packed: options.Packed = False,
    config: options.ConfigFile = None,
    filler: measuring.FillerText = None,
    data: measuring.Data = measuring.DATA,
    download: measuring.Download = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    json: measuring.Result = None,
) -> None:
    """Try a grid of schedules and methods; writes JSON, Parquet and CSV, and marks what nothing else beats."""
    from sliminfer.evaluate.sweep import Grid, check_tables, default_layers, parse_layers, table_rows, write_table

    check_tables()
    keeps = tuple(measuring.numbers(keep, "--keep"))
    names = tuple(dict.fromkeys(name for name in (part.strip() for part in methods.split(",")) if name))
    asked = measuring.Asked(
        suite=suite, context=context, examples=examples, seed=seed, model=model, filler=filler, data=data,
        download=download, device=device, dtype=dtype, attention=attention, packed=packed,
    )  # fmt: skip
    job = measuring.prepare(asked)
    count = job.engine.loaded.layers
    grid = Grid(default_layers(count) if layers is None else parse_layers(layers), keeps, names)
    base = options.make_config(count, None, DEFAULT_PRESET, config, model=job.engine.loaded.name, seeing=job.seeing)
    variants = grid.variants(base, count)
    path = asked.result_path(json, "sweep", keep=keep, layers=layers, methods=methods, config=config)
    records = measuring.measure(job, dict.fromkeys(job.contexts, variants), path, "sweep")
    if not job.shard.first:
        return
    found = measuring.result(job, dict.fromkeys(job.contexts, variants), records)
    found["table"] = table_rows(found["results"], variants)
    parquet, csv = write_table(found["table"], path)
    measuring.finish(found, json, path)
    print(f"Tables: {parquet} and {csv}.", file=sys.stderr)
    if json != "-":
        print("Not beaten in accuracy and TTFT together:")
        for row in (row for row in found["table"] if row["front_ttft"]):
            place = f"{row['suite']} {row['context']:,}"
            print(f"  {place}  {row['variant']}  {row['accuracy']:.3f}  {row['ttft_s']:.3f} s")
