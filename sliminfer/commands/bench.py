"""`sliminfer bench`: paired timing of full, pruned and stock runs, on shapes anyone can repeat."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sliminfer.commands import options
from sliminfer.errors import ConfigError

if TYPE_CHECKING:
    from sliminfer.evaluate.bench import BenchRow


def command(
    lengths: Annotated[str, typer.Option(help="Prompt lengths in tokens: 2048,8192.")] = "2048,8192",
    shape: Annotated[str, typer.Option(help="demo, qwen2.5-0.5b, llama-3.2-1b, ...; several with commas.")] = "demo",
    preset: Annotated[str, typer.Option(help="Presets to time, with commas.")] = "paper",
    prune: options.Prune = None,
    rounds: Annotated[int, typer.Option(help="Rounds after the warm-up; every variant runs once a round.")] = 5,
    new_tokens: Annotated[int, typer.Option(help="Tokens to generate; 1 times the prefill alone.")] = 1,
    reading: options.Reading = None,
    reading_share: options.ReadingShare = None,
    reading_options: options.ReadingOptions = None,
    active: Annotated[float | None, typer.Option(help="Decode working set as a fraction of the survivors.")] = None,
    against: Annotated[str | None, typer.Option(help='"hf" times stock generate as well.')] = None,
    new_lengths: Annotated[
        bool, typer.Option(help="Read a prompt of another length in every round, as visitors bring them.")
    ] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    kernels: options.Kernels = "auto",
    json: options.JsonFile = None,
) -> None:
    """Time to first token of full against pruned, in turn, with medians and spread."""
    from sliminfer.evaluate.bench import bench, random_model
    from sliminfer.evaluate.shards import Shard

    if against not in (None, "hf"):
        raise ConfigError(f"--against {against} is unknown: the only other side is hf.")
    counts = _numbers(lengths)
    asked = reading, reading_share, reading_options
    changes: dict[str, Any] = {} if active is None else {"active": active}
    shard = Shard.of_environment()
    jobs = [(name, tokens) for name in shape.split(",") for tokens in counts]
    mine = shard.mine(jobs)
    rows: list[BenchRow] = []
    document: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in mine):
        loaded = random_model(name, shard.device(device), dtype, attention)
        configs = {
            label: options.make_config(
                loaded.layers, prune, label if prune is None else "paper", model=loaded.name, reading=asked, **changes
            )
            for label in (["custom"] if prune is not None else preset.split(","))
        }
        if asked != (None, None, None) and reading != "dense":
            # The same schedules with dense reading, and reading alone: what each of both axes brings.
            dense = {f"{label} dense": made.with_changes(reading="dense") for label, made in configs.items()}
            alone = options.make_config(loaded.layers, method="sparse_full", reading=asked)
            configs = {**dense, **configs, "sparse_full": alone}
        for tokens in (tokens for owner, tokens in mine if owner == name):
            found = bench(loaded, name, tokens, configs, rounds, new_tokens, against == "hf", kernels, new_lengths)
            rows.extend(found)
            if json != "-":
                _print(found)
        document = _document(loaded, rows, counts, new_lengths)
        if json is not None and shard.world == 1:
            options.write_json(document, json)  # what is done is kept if the next shape fails
        del loaded
    if shard.world > 1:
        document = _merged(shard.everyone(document), jobs)
        if json is not None and shard.first:
            options.write_json(document, json)


def _merged(documents: list[dict[str, Any]], jobs: list[tuple[str, int]]) -> dict[str, Any]:
    """The first process's document that has rows, with the rows of all processes in the order of `jobs`."""
    filled = [document for document in documents if document]
    rows = [row for document in filled for row in document["rows"]]
    return filled[0] | {"rows": sorted(rows, key=lambda row: jobs.index((row["shape"], row["tokens"])))}


def _numbers(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--lengths {text!r} is no list of whole numbers: write 2048,8192.") from error
    if min(counts) < 64:
        raise ConfigError("--lengths must be at least 64 tokens each.")
    return counts


def _document(loaded: Any, rows: list[BenchRow], lengths: list[int], new_lengths: bool) -> dict[str, Any]:
    import torch
    import transformers

    from sliminfer.evaluate.provenance import provenance

    return {
        "provenance": provenance(loaded),
        "device": loaded.device_name,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": loaded.dtype_name,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "lengths": lengths,
        "new_lengths": new_lengths,
        "rows": [row.to_dict() for row in rows],
    }


def _print(rows: list[BenchRow]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    first = rows[0]
    table = Table(
        title=f"{first.shape}, {first.tokens:,} tokens, {first.rounds} rounds, {first.attention}",
        title_justify="left",
        box=SIMPLE,
    )
    table.add_column("", no_wrap=True)
    for heading in (
        "TTFT s",
        "range",
        "speed-up",
        "FLOPs",
        "effic.",
        "floor",
        "select",
        "KV MB",
        "peak MB",
        "tok/s",
        "all",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.variant,
            f"{row.ttft_s.median:.3f}",
            f"{row.ttft_s.least:.2f}-{row.ttft_s.most:.2f}",
            f"{row.speedup.median:.2f}x",
            f"{row.flop_speedup:.2f}x",
            f"{row.efficiency:.2f}",
            f"{row.ttft_s.median / row.floor_s:.2f}x",
            f"{100 * row.select_s / row.ttft_s.median:.1f}%",
            f"{row.kv_bytes / 1e6:.1f}",
            f"{row.peak_bytes / 1e6:.0f}",
            f"{row.decode_tokens_per_s:.1f}",
            f"{row.end_to_end_speedup.median:.2f}x",
        )
    Console(width=120).print(table)
