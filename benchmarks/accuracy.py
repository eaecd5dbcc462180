"""From stored results of `eval` on real models to their tables in docs/real-models.md.

    python -m sliminfer eval --model MODEL --suite needle,multikey,quote --context 1024,2048 --examples 12 \
        --json assets/benchmarks/accuracy_NAME.json
    python benchmarks/accuracy.py docs/real-models.md

Every file assets/benchmarks/accuracy_*.json has a table, in the order of their names.
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

from benchmarks.comparison import put

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "benchmarks"
Row = dict[str, Any]


def stored(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The results in `folder`, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("accuracy_*.json"))]


def tables(results: Sequence[dict[str, Any]]) -> str:
    """A table for each result, in Markdown, with what it comes from."""
    return "\n\n".join(part for result in results for part in (_origin(result), _table(result), _command(result)))


def _origin(result: dict[str, Any]) -> str:
    rows = [row for row in result["results"] if row["accuracy"] is not None]
    widest = max((row["accuracy_high"] - row["accuracy_low"]) / 2 for row in rows)
    ratios = ", ".join(
        f"`{variant}` {fmean(row['speedup']['ttft_flops'] for row in rows if row['variant'] == variant):.2f}"
        for variant in _variants(rows)
        if variant != "full"
    )
    name = Path(result["model"]).name.removesuffix(".gguf")
    return (
        f"**{name}** ({result['dtype']}, {'; '.join(result['hardware'])}, commits "
        f"{', '.join(result['commits'])}, seed {result['seed']}), {result['examples']} examples a cell, whose 95 % "
        f"interval is up to ±{100 * widest:.0f}; times fewer FLOPs of a prefill: {ratios}."
    )


def _table(result: dict[str, Any]) -> str:
    variants = _variants(result["results"])
    lines = [
        f"| questions | tokens | {' | '.join('full' if v == 'full' else f'`{v}`' for v in variants)} |",
        f"|---|---:|{'---:|' * len(variants)}",
    ]
    for context in result["contexts"]:
        here = [row for row in result["results"] if row["context"] == context]
        suites = list(dict.fromkeys(row["suite"] for row in here))
        found = {(row["suite"], row["variant"]): row["accuracy"] for row in here}
        cells = {suite: [found.get((suite, variant)) for variant in variants] for suite in suites}
        lines += [f"| {suite} | {context:,} | {_percent(cells[suite])} |" for suite in suites]
        if len(suites) > 1:
            lines.append(f"| mean | {context:,} | {_percent([_mean(each) for each in zip(*cells.values())])} |")
    return "\n".join(lines)


def _command(result: dict[str, Any]) -> str:
    return f"```\n{result['provenance']['command']}\n```"


def _variants(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["variant"] for row in rows))


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if len(known) == len(shares) else None


def _percent(shares: Sequence[float | None]) -> str:
    return " | ".join("-" if share is None else f"{100 * share:.1f}" for share in shares)


def main() -> None:
    """Put the tables into a page, or print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("page", nargs="?", type=Path)
    asked = parser.parse_args()
    found = tables(stored())
    if asked.page is None:
        print(found)
    else:
        put(found, asked.page)


if __name__ == "__main__":
    main()
