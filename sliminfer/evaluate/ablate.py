"""The rules by which blocks can be scored, one changed at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from sliminfer.evaluate.records import FULL
from sliminfer.evaluate.summary import by_step
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.scoring_rule import ScoringRule


def rules(base: SlimConfig) -> dict[str, SlimConfig]:
    """The default rule and, for each choice in it, the alternatives; under the schedule of `base`."""
    default = base.with_changes(method="sliminfer", options={})
    found = {"default": default}
    for label, options in (
        ("raw products, no softmax", {"attention": False}),
        ("mean over queries", {"queries": "mean"}),
        ("mean over heads", {"heads": "mean"}),
        ("mean over queries and heads", {"queries": "mean", "heads": "mean"}),
        ("mean over the units of a block", {"units": "mean"}),
    ):
        found[label] = default.with_changes(method=ScoringRule.name, options=options)
    found["blocks by themselves, without their neighbours"] = default.with_changes(
        options={"half_life_before": 0, "half_life_after": 0}
    )
    for after in (8, 16, 48):
        found[f"half-life of {after} tokens after"] = default.with_changes(options={"half_life_after": after})
    found["half-life of 16 tokens before"] = default.with_changes(options={"half_life_before": 16})
    found["each step by itself, without earlier scores"] = default.with_changes(options={"carry": 0.0})
    for size in (2, 4, 8):
        found[f"mean-key units of {size}"] = default.with_changes(unit_size=size)
    for size in (4, 16, 32, 64):
        found[f"blocks of {size}"] = default.with_changes(block_size=size)
    found["the layer just run alone"] = default.with_changes(score_layer="previous")
    found["the prune layer itself alone"] = default.with_changes(score_layer="own")
    for window in (1, 4, 16, 32, 64):
        found[f"last {window} queries"] = default.with_changes(query_window=window)
    found["blocks of 32, maximum over 16 queries and heads, half-life of 16"] = default.with_changes(
        block_size=32, query_window=16, aggregate="max", options={"half_life_before": 16, "half_life_after": 16}
    )
    paper = {"attention": False, "half_life_before": 0, "half_life_after": 0, "carry": 0.0}
    found["blocks of 32, mean-key units of 8, raw products, neither neighbours nor earlier scores"] = (
        default.with_changes(method=ScoringRule.name, block_size=32, unit_size=8, options=paper)
    )
    return {label: config for label, config in found.items() if label == "default" or config != default}


def ablation_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `summary.summarise` as a Markdown table: one line per rule, means over suites and contexts."""
    suites = list(dict.fromkeys(row["suite"] for row in rows))
    by_label: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_label.setdefault(row["variant"], []).append(row)
    steps = max(len(row["evidence_kept"]) for row in rows)
    heads = ["rule", *(f"evidence kept, step {step + 1}" for step in range(steps))]
    heads += [*(f"{suite} accuracy" for suite in suites), "agreement", "KL", "FLOP speed-up"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for label, group in by_label.items():
        evidence = by_step([row["evidence_kept"] for row in group])
        cells = [
            "full model" if label == FULL else label,
            *(f"{share:.3f}" for share in evidence),
            *[""] * (steps - len(evidence)),
            *(_mean([row for row in group if row["suite"] == suite], "accuracy") for suite in suites),
            "" if label == FULL else _mean(group, "agreement"),
            "" if label == FULL else _mean(group, "first_token_kl", ".4f"),
            _mean([row["speedup"] for row in group], "ttft_flops", ".2f"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(rows: Sequence[Mapping[str, Any]], name: str, form: str = ".3f") -> str:
    values = [row[name] for row in rows if row[name] is not None]
    return format(fmean(values), form) if values else "-"
