"""A grid of schedules and methods, its table, and the settings that no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sliminfer.errors import ConfigError, needs_extra
from sliminfer.evaluate.evaluate import Variant
from sliminfer.evaluate.pareto import pareto
from sliminfer.evaluate.records import ResultError
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import check_method, selector_class

# What a front trades accuracy for, by column of the table; less is better.
COSTS = {"front_ttft": "ttft_s", "front_kv": "prompt_kv_bytes"}


@dataclass(frozen=True)
class Grid:
    """What is tried.

    Attributes:
        layers: sets of prune layers; each layer of a set after the first keeps half of what the one before does.
        keeps: shares kept at the first prune layer.
        methods: names of methods; those that prune once take the sets of one layer only.
    """

    layers: tuple[tuple[int, ...], ...]
    keeps: tuple[float, ...]
    methods: tuple[str, ...]

    def variants(self, base: SlimConfig, model_layers: int) -> list[Variant]:
        """All combinations, with everything but steps and method as in `base`.

        Raises:
            ConfigError: a method, layer or keep that does not exist.
        """
        found = []
        for method in self.methods:
            options = base.options if method == base.method else {}
            for chosen in self.layers:
                if len(chosen) > 1 and selector_class(method).one_step:
                    continue
                for keep in self.keeps:
                    steps = tuple(PruneStep(layer, keep / 2**i) for i, layer in enumerate(chosen))
                    config = base.with_changes(method=method, options=options, steps=steps)
                    config.check_model(model_layers)
                    check_method(config)
                    found.append(Variant(f"{method} {steps_text(config)}", config))
        if not found:
            raise ConfigError("The grid is empty: give methods that prune once at least one single prune layer.")
        return found


def parse_layers(text: str) -> tuple[tuple[int, ...], ...]:
    """Sets of prune layers from `3,4,4+8`: layer 3, layer 4, and layers 4 and 8."""
    try:
        sets = tuple(tuple(int(layer) for layer in part.split("+")) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{text!r} are no prune layers: write them as in 3,4,4+8.") from error
    if not sets:
        raise ConfigError("No prune layer is named: write them as in 3,4,4+8.")
    return sets


def default_layers(layers: int) -> tuple[tuple[int, ...], ...]:
    """A quarter, a third and a half of the depth of a model, and a third with two thirds."""
    depths = ((1 / 4,), (1 / 3,), (1 / 2,), (1 / 3, 2 / 3))
    sets = (tuple(min(layers - 1, max(1, round(depth * layers))) for depth in each) for each in depths)
    return tuple(dict.fromkeys(each for each in sets if len(set(each)) == len(each)))


def steps_text(config: SlimConfig) -> str:
    """The steps as `--prune` takes them."""
    return ",".join(f"{step.layer}:{step.keep:g}" for step in config.steps)


def table_rows(rows: Sequence[Mapping[str, Any]], variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """Flat rows from those of `summary.summarise`, with the setting of each and whether it is on a front.

    Fronts are drawn among all variants of one suite and context.
    """
    configs = {variant.label: variant.config for variant in variants}
    flat = []
    for row in rows:
        config = configs.get(row["variant"])
        entry = {name: value for name, value in row.items() if name not in ("speedup", "evidence_kept")}
        entry |= {f"speedup_{name}": value for name, value in row["speedup"].items()}
        entry |= {f"evidence_kept_{step + 1}": share for step, share in enumerate(row["evidence_kept"])}
        entry["prune"] = steps_text(config) if config else ""
        entry["keep"] = config.steps[0].keep if config else 1.0
        entry["layers"] = "+".join(str(step.layer) for step in config.steps) if config else ""
        flat.append(entry)
    for name, cost in COSTS.items():
        for entry in flat:
            rivals = [r for r in flat if (r["suite"], r["context"]) == (entry["suite"], entry["context"])]
            entry[name] = on_front(entry, rivals, cost)
    return flat


def on_front(entry: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]], cost: str) -> bool:
    """Whether no rival is at least as accurate and as cheap, and better in one of both; not where either is unknown."""
    known = [(rival[cost], rival["accuracy"]) for rival in rivals if None not in (rival[cost], rival["accuracy"])]
    return (entry[cost], entry["accuracy"]) in pareto(known)


def check_tables() -> None:
    """Raise ConfigError where `write_table` could not write, for want of a package: before hours of runs."""
    for package in ("pandas", "pyarrow"):
        if find_spec(package) is None:
            raise ConfigError(needs_extra("The table of a sweep", package, "evaluate"))


def write_table(rows: Sequence[Mapping[str, Any]], result: Path) -> tuple[Path, Path]:
    """Write `rows` as Parquet and CSV beside `result`; returns both places."""
    import pandas as pd

    frame = pd.DataFrame([dict(row) for row in rows])
    parquet, csv = result.with_suffix(".parquet"), result.with_suffix(".csv")
    try:
        result.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(csv, index=False)
        frame.to_parquet(parquet, index=False)
    except OSError as error:
        raise ResultError(f"{csv} cannot be written ({error.strerror}): choose another place for --json.") from error
    return parquet, csv
