"""From a result of `eval --match-flops` to the tables of docs/comparison.md: all methods at the same FLOP speed-ups.

    python -m sliminfer eval --suite planted --context 4096,8192 --match-flops 1.5,2,2.5,3 --examples 200 \
        --methods sliminfer,adaptive,fastkv,lazyllm,gemfilter,streaming,random,oracle --json comparison.json
    python benchmarks/comparison.py comparison.json docs/comparison.md

With several results, rows of later ones take the place of earlier rows of the same task, context and variant:
what changed since can be measured by itself and put in, as in `docs/comparison.json runs/part.json docs/comparison.md
--merged docs/comparison.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sliminfer.evaluate.summary import averages
from sliminfer.selectors import selector_class

Row = dict[str, Any]
BOUNDS = ("random", "oracle")  # they frame the scale and compete with nobody
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"  # what is between them is replaced


def tables(result: dict[str, Any]) -> str:
    """The tables in Markdown, and what they come from."""
    rows = [row for row in result["results"] if row["accuracy"] is not None]
    origin = result["provenance"]
    parts = [
        f"{result['model']} ({result['dtype']}, {result['device']}), {_examples(rows)}, "
        f"seed {result['seed']}, commits {', '.join(result['commits'])}. Every method prunes on its own published "
        "schedule, its keeps solved for the FLOP speed-up at the head of the column "
        "(`sliminfer/selectors/budget.py`); all keep the first block, the local window and the question. Accuracy in "
        "per cent, the best of the methods in bold; `random` and `oracle` frame the scale. A speed-up in brackets is "
        "what a method really spent where it chooses its budget by itself.",
        f"```\n{origin['command']}\n```",
    ]
    for context in result["contexts"]:
        here = [row for row in rows if row["context"] == context]
        parts += [f"## {context:,} tokens", *_tables(here), _verdict(here)]
    parts += ["## What the methods are", _papers(rows)]
    return "\n\n".join(parts)


def merged(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first result with the rows, configs and commits of the later ones put in, without times."""
    whole = dict(results[0])
    for part in results[1:]:
        for name in ("results", "variants"):
            newer = {_cell(row): row for row in part[name]}
            kept = [newer.pop(_cell(row), row) for row in whole[name]]
            whole[name] = kept + list(newer.values())
        for name in ("commits", "hardware"):
            whole[name] = sorted({*whole[name], *part[name]})
    # Processes that share a GPU slow each other down: their times mean nothing.
    no_ratio = {"ttft": None, "efficiency": None}
    no_times = {"ttft_s": None, "decode_tokens_per_s": None}
    whole["results"] = [row | no_times | {"speedup": row["speedup"] | no_ratio} for row in whole["results"]]
    whole["averages"] = averages(whole["results"])
    return whole


def _cell(row: Row) -> tuple[Any, ...]:
    return row.get("suite"), row["context"], row["variant"]


def put(tables: str, page: Path) -> None:
    """Put the tables between the marks of `page`, or below all of it where it has none."""
    text = page.read_text(encoding="utf-8") if page.exists() else "# Methods at the same FLOP budget\n"
    if BEGIN not in text:
        text += f"\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def _examples(rows: Sequence[Row]) -> str:
    """How many examples a cell stands for, and which methods have fewer because a run was cut short."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        counts.setdefault(row["method"], []).append(row["examples"])
    spans = {method: tuple(sorted({min(found), max(found)})) for method, found in counts.items()}
    most = max(spans.values())
    text = f"{' to '.join(map(str, most))} examples per task and context"
    for method, span in spans.items():
        if span != most:
            text += f", of `{method}` {' to '.join(map(str, span))}"
    return text


def _tables(rows: Sequence[Row]) -> list[str]:
    suites = list(dict.fromkeys(row["suite"] for row in rows))
    tables = [f"### Mean of {len(suites)} tasks\n\n{_table(rows)}"] if len(suites) > 1 else []
    return tables + [f"### {suite}\n\n{_table([row for row in rows if row['suite'] == suite])}" for suite in suites]


def _table(rows: Sequence[Row]) -> str:
    targets = _targets(rows)
    lines = [f"| method | {' | '.join(f'{target:g}x' for target in targets)} |", "|---" * (len(targets) + 1) + "|"]
    full = _accuracy(rows, "full", None)
    if full is not None:
        lines.append(f"| full (1x) | {' | '.join([f'{full:.1%}'[:-1]] * len(targets))} |")
    best = {target: max(_rivals(rows, target).values(), default=None) for target in targets}
    for method in dict.fromkeys(row["method"] for row in rows if row["method"] != "full"):
        cells = []
        for target in targets:
            found = _accuracy(rows, method, target)
            text = "-" if found is None else f"{found:.1%}"[:-1]
            spent = _measured(rows, method, target)
            if spent is not None and abs(spent / target - 1) > 0.03:  # chose another budget for itself
                text += f" ({spent:.2f}x)"
            leads = found is not None and found == best[target] and method not in BOUNDS
            cells.append(f"**{text}**" if leads else text)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdict(rows: Sequence[Row]) -> str:
    """Where the project's own methods lead and where they do not, from the means alone."""
    lines = []
    for target in _targets(rows):
        rivals = _rivals(rows, target)
        ours = {name: rivals.pop(name) for name in ("sliminfer", "adaptive") if name in rivals}
        if not ours or not rivals:
            continue
        rival = max(rivals, key=lambda name: rivals[name])
        told = ", ".join(f"{name} {100 * (value - rivals[rival]):+.1f}" for name, value in ours.items())
        lines.append(f"- {target:g}x, points against the best other method ({rival}): {told}.")
    return "\n".join(lines)


def _papers(rows: Sequence[Row]) -> str:
    methods = dict.fromkeys(row["method"] for row in rows)
    return "\n".join(f"- `{method}`: {selector_class(method).paper}." for method in methods)


def _targets(rows: Sequence[Row]) -> list[float]:
    return sorted({row["flops_target"] for row in rows if row["flops_target"] is not None})


def _rivals(rows: Sequence[Row], target: float) -> dict[str, float]:
    methods = dict.fromkeys(row["method"] for row in rows if row["method"] not in (*BOUNDS, "full"))
    found = {method: _accuracy(rows, method, target) for method in methods}
    return {method: value for method, value in found.items() if value is not None}


def _accuracy(rows: Sequence[Row], method: str, target: float | None) -> float | None:
    values = [row["accuracy"] for row in rows if row["method"] == method and row["flops_target"] == target]
    return fmean(values) if values else None


def _measured(rows: Sequence[Row], method: str, target: float) -> float | None:
    """The FLOP speed-up that the runs really had."""
    chosen = [row for row in rows if row["method"] == method and row["flops_target"] == target]
    return fmean(row["speedup"]["ttft_flops"] for row in chosen) if chosen else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("page", type=Path)
    parser.add_argument("--merged", type=Path, help="where to write the results put together")
    chosen = parser.parse_args()
    whole = merged([json.loads(path.read_text(encoding="utf-8")) for path in chosen.results])
    if chosen.merged is not None:
        chosen.merged.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    put(tables(whole), chosen.page)


if __name__ == "__main__":
    main()
