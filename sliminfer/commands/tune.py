"""`sliminfer tune`: the most aggressive schedule whose answers stay the full model's, as a preset file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sliminfer.commands import measuring, options
from sliminfer.commands.sweep import Keeps, Layers
from sliminfer.errors import ConfigError, SlimError
from sliminfer.schedule.presets import DEFAULT_PRESET

if TYPE_CHECKING:
    from sliminfer.evaluate.evaluate import Variant
    from sliminfer.evaluate.records import Record
    from sliminfer.evaluate.tune import Tuned


def command(
    suite: measuring.Suites = "needle,quote",
    context: Annotated[int, typer.Option(help="Prompt length in tokens.")] = 4096,
    agreement: Annotated[float, typer.Option(help="Agreement with the full model to be kept, above 0 to 1.")] = 0.99,
    keep: Keeps = "0.75,0.5,0.35,0.25,0.18,0.125,0.0625",
    layers: Layers = None,
    method: options.Method = None,
    examples: Annotated[int, typer.Option(help="Examples per suite; half for the search, half to confirm.")] = 64,
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
    preset: Annotated[Path, typer.Option(help="Preset file to write, for --config and the page.")] = Path("tuned.json"),
) -> None:
    """Find the fastest schedule that answers like the full model on your model and documents."""
    from sliminfer.evaluate.sweep import Grid, default_layers, parse_layers
    from sliminfer.evaluate.tune import speedups_at, tune

    if not 0.0 < agreement < 1.0:
        raise ConfigError(f"An agreement of {agreement} cannot be shown by examples: ask for one between 0 and 1.")
    if examples < 2:
        raise ConfigError(f"{examples} examples cannot both choose and confirm: give at least 2, better 64.")
    keeps = tuple(measuring.numbers(keep, "--keep"))
    asked = measuring.Asked(
        suite=suite, context=str(context), examples=examples, seed=seed, model=model, filler=filler, data=data,
        download=download, device=device, dtype=dtype, attention=attention, packed=packed,
    )  # fmt: skip
    job = measuring.prepare(asked)
    count = job.engine.loaded.layers
    base = options.make_config(count, None, DEFAULT_PRESET, config, method, job.engine.loaded.name, job.seeing)
    grid = Grid(default_layers(count) if layers is None else parse_layers(layers), keeps, (base.method,))
    variants = grid.variants(base, count)
    speedups = speedups_at(variants, job.engine.loaded.shape, len(job.first_prompt(context)))
    path = asked.result_path(json, "tune", agreement=agreement, keep=keep, layers=layers, method=method, config=config)
    indices = job.asked(context)
    available = len(indices)
    runs: dict[str, Record] = {}

    def measure(chosen: Sequence[Variant], first: int, end: int) -> Sequence[Record]:
        what = f"{len(chosen)} schedules on {end - first} examples"
        found = measuring.measure(job, {context: chosen}, path, what, indices[first], indices[end - 1] + 1)
        runs.update({record.key: record for record in found})
        return found

    tuned = tune(variants, speedups, available, agreement, measure)
    if not job.shard.first:
        return
    if tuned is None:
        raise SlimError(
            f"None of {len(variants)} schedules kept agreement at {agreement:g} on {available} examples per suite: "
            "allow a lower --agreement or larger --keep."
        )
    found = measuring.result(job, {context: variants}, list(runs.values()))
    found["tuned"] = summary(tuned, speedups)
    options.write_json(
        {"config": tuned.chosen.config.to_dict(), "tuned": found["tuned"] | {"provenance": found["provenance"]}},
        str(preset),
    )
    options.write_json(found, "-" if json == "-" else str(path))
    print(f"{tuned.chosen.label}: FLOP speed-up {speedups[tuned.chosen.label]:.2f}x.", file=sys.stderr)
    print(tuned.claim.sentence(), file=sys.stderr)
    print(f"Preset written to {preset}: use it with --config {preset}.", file=sys.stderr)


def summary(tuned: Tuned, speedups: dict[str, float]) -> dict[str, Any]:
    """The choice and the way to it, as plain data."""
    return {
        "variant": tuned.chosen.label,
        "flop_speedup": speedups[tuned.chosen.label],
        "claim": tuned.claim.to_dict(),
        "rounds": [
            [
                {
                    "variant": outcome.variant.label,
                    "examples": outcome.examples,
                    "agreement": outcome.agreement,
                    "flop_speedup": speedups[outcome.variant.label],
                }
                for outcome in outcomes
            ]
            for outcomes in tuned.rounds
        ],
    }
