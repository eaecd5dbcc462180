"""Results measured before and kept as files of `eval` and `bench`: accuracy against time, and times by machine."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sliminfer.assets import ASSETS
from sliminfer.schedule.reading import SparseReading
from viz.figures.bars import Bar, BarChart, Group, Segment
from viz.figures.eval_file import checked_eval
from viz.figures.fields import FileError
from viz.figures.methods import Join, Outcome
from viz.figures.table import Table
from viz.figures.words import count, percent, plural, rate, seconds, size, times

FOLDER = ASSETS / "benchmarks"
_TIMED = {"shape", "tokens", "variant", "rounds", "ttft_s", "speedup", "flop_speedup", "efficiency", "kv_bytes"}
_JUDGED = {"suite", "context", "method", "variant", "accuracy", "ttft_s"}
_STOCK = {"hf": "stock transformers"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """What one evaluation found at one prompt length.

    Attributes:
        model: the model's name.
        source: prompts, examples and machine, in words.
        outcomes: one per variant that ran on every suite: mean accuracy, and the mean of the suites' median TTFT.
        join: which outcomes are worth joining: the best of a sweep of settings ("front"), or each method's own where
            all of them were solved for the same FLOP speed-ups ("methods").
    """

    model: str
    context: int
    source: str
    outcomes: tuple[Outcome, ...]
    join: Join | None = None

    @property
    def title(self) -> str:
        kinds: dict[Join | None, str] = {"front": "sweep of ", "methods": "methods at equal FLOPs, ", None: ""}
        return f"{kinds[self.join]}{self.model}, {plural(self.context, 'token')}"


def studies(folder: Path) -> tuple[Study, ...]:
    """The evaluations kept in `folder`, file by file, by rising prompt length; other files are passed over."""
    found: list[Study] = []
    for path, data in _documents(folder, "results", _JUDGED):
        try:
            found += studies_of(data)
        except FileError as error:
            _log.warning("%s is not shown: %s", path.name, error)
    return tuple(found)


def studies_of(data: Any) -> tuple[Study, ...]:
    """The evaluation in the data of a result file, by rising prompt length. Raises FileError where it is none."""
    told = checked_eval(data)
    return tuple(_study(told, context) for context in sorted({row["context"] for row in told["results"]}))


def nearest(found: Sequence[Study], model: str, tokens: int | None) -> Study:
    """Of the studies of `model`, if there are any, and of all methods, the one at the length nearest to `tokens`.

    The longest where `tokens` is None; raises ValueError if nothing is `found`.
    """

    def distance(study: Study) -> tuple[bool, bool, float]:
        far = -study.context if tokens is None else abs(math.log(study.context / tokens))
        return study.model != model, study.join != "methods", far

    return min(found, key=distance)


def timings(folder: Path) -> tuple[BarChart, ...]:
    """A figure for each shape in each `bench` file of `folder`; other files are passed over."""
    return tuple(
        _timing(data, shape)
        for _, data in _documents(folder, "rows", _TIMED)
        for shape in dict.fromkeys(row["shape"] for row in data["rows"])
    )


def machine(data: Mapping[str, Any]) -> str:
    """The machine of a result file: the GPU's name, or the processor's with its threads."""
    origin = data.get("provenance", {})
    if data.get("device", "cpu") != "cpu":
        return str(data["device"])
    return f"{origin.get('cpu', 'a CPU')}, {plural(int(origin.get('cpu_threads', 1)), 'thread')}"


def _documents(folder: Path, key: str, names: set[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The JSON files, with their paths, whose list under `key` has rows, all of them with the fields `names`."""
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            _log.warning("%s is not JSON and is not shown", path.name)
            continue
        rows = data.get(key) if isinstance(data, dict) else None
        if isinstance(rows, list) and rows and all(isinstance(row, dict) and names <= row.keys() for row in rows):
            yield path, data


def _study(data: Mapping[str, Any], context: int) -> Study:
    rows = [row for row in data["results"] if row["context"] == context]
    suites = list(dict.fromkeys(row["suite"] for row in rows))
    targets = {row["variant"]: row.get("flops_target") for row in rows}
    settings = {
        v["variant"]: _setting(v["config"], targets.get(v["variant"]))
        for v in data.get("variants", ())
        if v["context"] == context
    }
    outcomes = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant and None not in (row["accuracy"], row["ttft_s"])]
        if len(own) == len(suites):
            accuracy, ttft_s = (fmean(row[name] for row in own) for name in ("accuracy", "ttft_s"))
            kv_bytes = fmean(_number(row.get("prompt_kv_bytes")) for row in own)
            outcomes.append(Outcome(own[0]["method"], settings.get(variant, variant), accuracy, ttft_s, kv_bytes))
    source = (
        f"{data['model']} on {machine(data)}, prompts of {count(context)} tokens, "
        f"{plural(int(data.get('examples', 0)), 'example')} each of {', '.join(suites)}."
    )
    if (processes := int(data.get("processes", 1))) > 1:
        source += f" {count(processes)} processes shared the machine: its times compare with each other only."
    join: Join | None = "front" if "table" in data else "methods" if any(targets.values()) else None
    return Study(str(data["model"]), int(context), source, tuple(outcomes), join)


def _setting(config: Mapping[str, Any], target: float | None) -> str:
    """The prune steps of a config, after the FLOP speed-up they were solved for, if any, and what it reads sparsely."""
    steps = ", ".join(
        f"{step['layer']}:{percent(step['keep']) if step['keep'] <= 1 else count(step['keep'])}"
        for step in config["steps"]
    )
    if config.get("reading") == "sparse":
        steps += f", {percent(SparseReading(**config['reading_options']).share)} read"
    return steps if target is None else f"{target:g}× by {steps}"


def _timing(data: Mapping[str, Any], shape: str) -> BarChart:
    """Bars of the time to first token by prompt length and variant; the table has the rest."""
    rows = [row for row in data["rows"] if row["shape"] == shape]
    groups = tuple(
        Group(plural(tokens, "token"), tuple(_bar(row) for row in rows if row["tokens"] == tokens))
        for tokens in dict.fromkeys(row["tokens"] for row in rows)
    )
    origin = data.get("provenance", {})
    lengths = "another length in every round" if data.get("new_lengths") else None
    facts = (lengths, data.get("dtype"), rows[0].get("attention"), str(origin.get("finished_at", ""))[:10])
    return BarChart(
        f"{shape} on {machine(data)}",
        f"Time to first token, median of {plural(int(rows[0]['rounds']), 'round')}, and its ratio to full; whiskers "
        f"from lowest to highest. {', '.join(str(fact) for fact in facts if fact)}.",
        groups,
        (),
        Table.of(
            f"Measured by {origin.get('command') or 'sliminfer bench'}, commit {origin.get('commit') or 'unknown'}",
            ("Prompt", "Variant", "TTFT", "Lowest", "Highest", "Speed-up", "By FLOPs", "Efficiency", "Prompt’s KV",
             "Peak memory", "Tokens per second"),
            [_cells(row) for row in rows],
        ),
    )  # fmt: skip


def _bar(row: Mapping[str, Any]) -> Bar:
    variant, ttft = row["variant"], row["ttft_s"]
    role = "plain" if variant == "full" else "warm" if variant in _STOCK else "kept"
    ratio = "" if variant == "full" else f", {times(_number(row['speedup']['median']))}"
    return Bar(
        _STOCK.get(variant, variant),
        (Segment(_number(ttft["median"]), role),),
        f"{seconds(_number(ttft['median']))}{ratio}",
        (_number(ttft["least"]), _number(ttft["most"])),
    )


def _cells(row: Mapping[str, Any]) -> tuple[str | int, ...]:
    ttft = row["ttft_s"]
    return (
        int(row["tokens"]),
        _STOCK.get(row["variant"], row["variant"]),
        *(seconds(_number(ttft[name])) for name in ("median", "least", "most")),
        times(_number(row["speedup"]["median"])),
        times(_number(row["flop_speedup"])),
        percent(_number(row["efficiency"])),
        size(_number(row["kv_bytes"])),
        size(_number(row.get("peak_bytes"))),
        rate(_number(row.get("decode_tokens_per_s"))),
    )


def _number(value: float | None) -> float:
    """A figure of a file, where null stands for none."""
    return math.nan if value is None else float(value)
