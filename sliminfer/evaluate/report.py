"""One self-contained HTML page of result files: figures, tables, and where every number comes from."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sliminfer.errors import ConfigError
from sliminfer.evaluate.scatter import Dot, scatter_svg
from sliminfer.evaluate.sweep import COSTS, on_front

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #c9ced6; --soft: #59636e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --paper: #14171b; --line: #414954; --soft: #a4adb8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
caption { text-align: left; color: var(--soft); padding: 0.5rem 0; }
.scroll { overflow-x: auto; } figure { margin: 1.5rem 0; } figcaption { color: var(--soft); }
svg { max-width: 100%; height: auto; } code { overflow-wrap: anywhere; }
.best td, .best th { font-weight: 600; }
"""

# Columns of a result's rows in the order they are shown, with what heads them and how they are written.
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("variant", "variant", ""),
    ("suite", "suite", ""),
    ("context", "context", ",d"),
    ("examples", "n", "d"),
    ("failed", "failed", "d"),
    ("accuracy", "accuracy", ".3f"),
    ("accuracy_low", "95 % from", ".3f"),
    ("accuracy_high", "to", ".3f"),
    ("agreement", "agreement", ".3f"),
    ("first_token_kl", "first-token KL", ".4f"),
    ("speedup.ttft_flops", "FLOPs x", ".2f"),
    ("speedup.ttft", "TTFT x", ".2f"),
    ("speedup.efficiency", "efficiency", ".2f"),
    ("speedup.kv_bytes", "KV x", ".2f"),
    ("ttft_s", "TTFT s", ".4f"),
    ("kv_mb", "KV MB", ".2f"),
    ("fronts", "beaten by none in", ""),
)


def read_result(path: Path) -> dict[str, Any]:
    """The JSON object in a result file of any command; raises ConfigError where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no result file ({error}): give JSON written by --json.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no JSON object: give a file written by --json.")
    return data


def report_html(results: Mapping[str, Mapping[str, Any]], title: str = "SlimInfer report") -> str:
    """The page for `results`, by name: results of eval, sweep, ablate and tune with figures, others as tables."""
    body = "".join(_section(name, data) for name, data in results.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{_escape(title)}</h1>{body}</main></body></html>"
    )


def _section(name: str, data: Mapping[str, Any]) -> str:
    parts = [f"<section><h2>{_escape(name)}</h2>", _origin(data)]
    if "tuned" in data:
        tuned = data["tuned"]
        parts.append(
            f"<p><strong>{_escape(tuned['variant'])}</strong>, FLOP speed-up {tuned['flop_speedup']:.2f}x. "
            f"{_escape(tuned['claim']['sentence'])}</p>"
        )
    rows = data.get("results")
    if isinstance(rows, list) and rows and "accuracy" in rows[0]:
        parts += [_figures(rows), _rows_table([_with_fronts(row, rows) for row in rows])]
        if data.get("averages"):
            parts.append(_plain_table("Averages over suites", data["averages"]))
    else:
        parts += [_plain_table(key, found) for key, found in _tables(data)]
    return "".join(parts) + "</section>"


def _origin(data: Mapping[str, Any]) -> str:
    """Command, model, commit and hardware, in words."""
    source = data.get("provenance", {})
    facts = {
        "Model": source.get("model", data.get("model")),
        "Hardware": "; ".join(data.get("hardware") or []) or source.get("device", data.get("device")),
        "Processor": source.get("cpu"),
        "Number type": source.get("dtype", data.get("dtype")),
        "Commit": ", ".join(data.get("commits") or []) or source.get("commit"),
        "Libraries": f"torch {source['torch']}, transformers {source['transformers']}" if "torch" in source else None,
        "Processes": data.get("processes"),
        "Finished": source.get("finished_at"),
    }
    lines = [f"<li>{name}: {_escape(value)}</li>" for name, value in facts.items() if value is not None]
    command = f"<li>Command: <code>{_escape(source['command'])}</code></li>" if "command" in source else ""
    return f"<ul>{''.join(lines)}{command}</ul>"


def _figures(rows: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for suite, context in dict.fromkeys((row["suite"], row["context"]) for row in rows):
        here = [row for row in rows if (row["suite"], row["context"]) == (suite, context)]
        for column, axis in (("ttft_s", "time to first token, s"), ("prompt_kv_bytes", "KV cache of the prompt, MB")):
            scale = 1e-6 if column == "prompt_kv_bytes" else 1.0
            dots = [
                Dot(row[column] * scale, row["accuracy"], row["accuracy_low"], row["accuracy_high"], row["variant"])
                for row in here
                if row["accuracy"] is not None and row.get(column) is not None
            ]
            if len(dots) > 1:
                caption = f"{suite} at {context:,} tokens: accuracy with its 95 % interval against {axis}."
                figures.append(
                    f"<figure>{scatter_svg(dots, axis, 'accuracy', caption)}"
                    f"<figcaption>{_escape(caption)} The line joins what nothing beats.</figcaption></figure>"
                )
    return "".join(figures)


def _with_fronts(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The row with its KV bytes in MB and with what no other of its suite and context beats it in."""
    size = row.get("prompt_kv_bytes")
    rivals = [rival for rival in rows if (rival["suite"], rival["context"]) == (row["suite"], row["context"])]
    names = {"front_ttft": "TTFT", "front_kv": "KV"}
    fronts = [names[front] for front, cost in COSTS.items() if on_front(row, rivals, cost)]
    return {**row, "kv_mb": None if size is None else size / 1e6, "fronts": ", ".join(fronts) or None}


def _rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f'<th scope="col">{_escape(heading)}</th>' for _, heading, _ in _COLUMNS)
    body = ""
    for row in rows:
        cells = [_cell(row, path, form) for path, _, form in _COLUMNS]
        body += f'<tr><th scope="row">{cells[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in cells[1:]) + "</tr>"
    return _wrapped(f"<caption>All figures</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>")


def _cell(row: Mapping[str, Any], path: str, form: str) -> str:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        return "-"
    return _escape(format(round(value) if form.endswith("d") else value, form) if form else value)


def _tables(data: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Lists of records in `data`, and its sections of single figures as tables of one row each."""
    found = [
        (key, value)
        for key, value in data.items()
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value)
    ]
    single = [
        {"": key, **{k: v for k, v in value.items() if isinstance(v, int | float | str | None)}}
        for key, value in data.items()
        if isinstance(value, Mapping) and key not in ("provenance", "config")
    ]
    return [*found, *([("figures", single)] if single else [])]


def _plain_table(caption: str, rows: Sequence[Mapping[str, Any]]) -> str:
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    head = "".join(f'<th scope="col">{_escape(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{_value(row.get(name))}</td>" for name in columns) + "</tr>" for row in flat)
    return _wrapped(f"<caption>{_escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>")


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested records as one level, names joined by a point; lists are left out."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        elif not isinstance(value, list):
            found[f"{before}{name}"] = value
    return found


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return _escape(f"{value:.4g}" if isinstance(value, float) else value)


def _wrapped(table: str) -> str:
    return f'<div class="scroll" tabindex="0"><table>{table}</table></div>'


def _escape(value: Any) -> str:
    return html.escape(str(value))
