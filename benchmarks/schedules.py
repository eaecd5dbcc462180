"""Search schedules and scoring rules for the presets: prune layers, keeps, the share of sparse reading, other options.

    torchrun --nproc-per-node 8 benchmarks/schedules.py search --model DIR --json search.json
    torchrun --nproc-per-node 8 benchmarks/schedules.py report --found search.json --model DIR --json report.json

(or `python` for one process) on `--examples 20` of each suite at `--context 16384`. `search` answers planted and RULER
questions of seed 1001 under every candidate, `report` those of seed 0 under the ones that it found: for each of
`--targets`, prefills that much cheaper in FLOPs, the candidate with the best accuracy. Both go on where they were
stopped, with any number of processes, and write JSON with accuracy, FLOP speed-up and TTFT. On a GPU let `--rank time`
hold the targets against the measured speed-up. `--depths` and `--keeps` narrow the grid; `--changes` gives changes to
the config that are tried with every schedule, as a JSON list: `[{}, {"options": {"across": 3}}]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sliminfer.commands import measuring
from sliminfer.evaluate.evaluate import Variant
from sliminfer.schedule.config import PruneStep, SlimConfig

SUITES = "planted,ruler"
SEARCH_SEED, REPORT_SEED = 1001, 0
# Depths of the prune steps and what they keep, as shares of depth and prompt; today's presets are among them.
DEPTHS = ((3 / 28, 1 / 4, 1 / 2), (3 / 28, 1 / 4), (1 / 7, 1 / 3, 1 / 2), (1 / 4, 1 / 2), (2 / 28, 5 / 28, 1 / 2))
KEEPS = ((0.5, 0.25, 0.12), (0.36, 0.14, 0.06), (0.25, 0.1, 0.05), (0.18, 0.07, 0.04))
SHARES = (None, 0.35, 0.25, 0.15)


@dataclass(frozen=True)
class Grid:
    """What is tried with what: depths and keeps as shares, shares of sparse reading (None: dense), other changes."""

    depths: Sequence[Sequence[float]]
    keeps: Sequence[Sequence[float]]
    shares: Sequence[float | None]
    changes: Sequence[Mapping[str, Any]]


def candidates(layers: int, model: str, grid: Grid, options: Mapping[str, Any], full: bool) -> list[Variant]:
    """Every cell of `grid`, and `full` reading alone at each share where asked for; `options` are those of reading."""
    base = SlimConfig.preset("balanced", layers, model)
    found: dict[str, Variant] = {}
    for depths, keeps, share, changes in product(grid.depths, grid.keeps, grid.shares, grid.changes):
        at = {max(1, round(depth * layers)): keep for depth, keep in zip(depths, keeps, strict=False)}
        steps = tuple(PruneStep(layer, at[layer]) for layer in sorted(at))
        label = (
            ",".join(f"{step.layer}:{step.keep:g}" for step in steps) + _reading_label(share) + _changes_label(changes)
        )
        found[label] = Variant(label, read_at(base.with_changes(steps=steps, **changes), share, options))
    for share in grid.shares if full else ():
        if share is not None:
            label = f"full{_reading_label(share)}"
            found[label] = Variant(label, read_at(SlimConfig(method="sparse_full"), share, options))
    return list(found.values())


def read_at(config: SlimConfig, share: float | None, options: Mapping[str, Any]) -> SlimConfig:
    """`config` with the layers before its first prune step read at `share`, whatever the length of the prompt."""
    if share is None:
        return config
    return config.with_changes(reading="sparse", reading_options={"from_tokens": 0, **options, "share": share})


def best(rows: Sequence[Mapping[str, Any]], targets: Sequence[float], rank: str) -> dict[str, dict[str, Any]]:
    """For each target, the variant with the best mean accuracy among those whose `rank` speed-up is as large."""
    means = {}
    for variant in {row["variant"] for row in rows}:
        own = [row for row in rows if row["variant"] == variant and row["accuracy"] is not None]
        if own:
            means[variant] = {
                "accuracy": statistics.fmean(row["accuracy"] for row in own),
                "flop_speedup": statistics.fmean(row["speedup"]["ttft_flops"] or 1.0 for row in own),
                "time_speedup": statistics.fmean(row["speedup"]["ttft"] or 1.0 for row in own),
            }
    chosen = {}
    for target in targets:
        able = {variant: mean for variant, mean in means.items() if mean[f"{rank}_speedup"] >= target}
        if able:
            variant = max(able, key=lambda name: (able[name]["accuracy"], able[name][f"{rank}_speedup"]))
            chosen[f"{target:g}"] = {"variant": variant, **able[variant]}
    return chosen


def main() -> None:
    arguments = _arguments()
    seed = SEARCH_SEED if arguments.command == "search" else REPORT_SEED
    asked = measuring.Asked(
        suite=arguments.suite, context=arguments.context, examples=arguments.examples, seed=seed,
        model=arguments.model, filler=None, data=Path("data"), download=False, device=arguments.device,
        dtype=arguments.dtype, attention="auto", packed=False,
    )  # fmt: skip
    job = measuring.prepare(asked)
    if arguments.command == "search":
        shares = [None if text == "dense" else float(text) for text in arguments.shares.split(",")]
        loaded = job.engine.loaded
        grid = Grid(_depths(arguments.depths), _depths(arguments.keeps), shares, json.loads(arguments.changes))
        variants = candidates(loaded.layers, loaded.name, grid, json.loads(arguments.options), arguments.full)
        if arguments.only:
            variants = [each for each in variants if any(part in each.label for part in arguments.only.split(";"))]
    else:
        found = json.loads(arguments.found.read_text(encoding="utf-8"))
        wanted = {each["variant"] for each in found["best"].values()}
        configs = {each["variant"]: each["config"] for each in found["variants"]}
        variants = [Variant(name, SlimConfig.from_dict(configs[name])) for name in sorted(wanted)]
    here = dict.fromkeys(job.contexts, variants)
    records = measuring.measure(job, here, arguments.json, f"schedules {arguments.command}")
    if job.shard.first:
        data = measuring.result(job, here, records)
        data["best"] = best(data["results"], [float(part) for part in arguments.targets.split(",")], arguments.rank)
        measuring.finish(data, str(arguments.json), arguments.json)


def _reading_label(share: float | None) -> str:
    return "" if share is None else f" read {share:g}"


def _changes_label(changes: Mapping[str, Any]) -> str:
    return "".join(f" {name}={json.dumps(value)}" for name, value in changes.items())


def _depths(text: str) -> list[list[float]]:
    return [[float(part) for part in each.split(",")] for each in text.split(";")]


def _text(grid: Sequence[Sequence[float]]) -> str:
    return ";".join(",".join(f"{value:.4g}" for value in each) for each in grid)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("search", "report"):
        command = commands.add_parser(name)
        command.add_argument("--model", required=True)
        command.add_argument("--context", default="16384")
        command.add_argument("--examples", type=int, default=20)
        command.add_argument("--suite", default=SUITES)
        command.add_argument("--targets", default="3,4,5,6")
        command.add_argument("--rank", choices=("flop", "time"), default="flop")
        command.add_argument("--device", default="auto")
        command.add_argument("--dtype", default="auto")
        command.add_argument("--json", type=Path, required=True)
    commands.choices["search"].add_argument("--shares", default="dense,0.35,0.25,0.15")
    commands.choices["search"].add_argument(
        "--depths", default=_text(DEPTHS), help="of the steps: 0.1,0.25,0.5;0.25,0.5"
    )
    commands.choices["search"].add_argument(
        "--keeps", default=_text(KEEPS), help="at the steps: 0.5,0.25,0.12;0.25,0.1"
    )
    commands.choices["search"].add_argument("--changes", default="[{}]", help="changes to the config, a JSON list")
    commands.choices["search"].add_argument("--options", default="{}", help="other reading options, as JSON")
    commands.choices["search"].add_argument("--only", default="", help="labels that hold one of these, between ;")
    commands.choices["search"].add_argument("--full", action="store_true", help="sparse reading alone as well")
    commands.choices["report"].add_argument("--found", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
