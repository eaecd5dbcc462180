"""The rules by which blocks can be scored, one changed at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar

import torch
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.evaluate.records import FULL
from sliminfer.evaluate.summary import by_step
from sliminfer.ops.dispatch import unit_keys
from sliminfer.schedule.config import Aggregate, SlimConfig
from sliminfer.selectors import Attention, PruneView, register
from sliminfer.selectors.sliminfer import SlimInfer, SlimInferKnobs


@dataclass(frozen=True)
class Rule(SlimInferKnobs):
    """How a block's score comes from the products of queries and keys.

    Attributes:
        attention: softmax over the units first, rather than the raw products.
        queries, heads, units: how the values of a block are brought together, in this order.
    """

    attention: bool = True
    queries: Aggregate = "mean"
    heads: Aggregate = "mean"
    units: Aggregate = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("queries", "heads", "units"):
            if getattr(self, name) not in ("max", "mean"):
                raise ConfigError(f"Option {name} is {getattr(self, name)!r}: choose max or mean.")


@register
class ScoringRule(SlimInfer):
    """SlimInfer under any `Rule`, without the care for memory and speed that the shipped rule gets."""

    name: ClassVar[str] = "scoring-rule"
    paper: ClassVar[str] = "variants of SlimInfer's score, for the ablation"
    knobs: ClassVar[type[Any]] = Rule

    def by_layer(self, view: PruneView, layer: Attention) -> Tensor:
        size, keys = self.config.unit_size, layer.keys()
        queries = layer.queries(self.config.query_window).to(keys.device)
        alive = view.alive.to(keys.device)
        units = unit_keys(keys, size) if size > 1 else keys
        ends = alive[torch.arange(size, len(alive) + size, size, device=keys.device).clamp(max=len(alive)) - 1]
        per_unit = score_units(queries, units, ends[None] <= alive[-queries.shape[1] :, None], self.options)
        # Attention is never negative. Raw products may be, and a block that is gone counts 0 here.
        per_unit = per_unit if self.options.attention else per_unit - per_unit.min()
        reduce = "amax" if self.options.units == "max" else "mean"
        blocks = torch.zeros(len(self.prompt.blocks), device=keys.device)
        return blocks.scatter_reduce(0, alive[::size] // self.config.block_size, per_unit, reduce, include_self=False)


def score_units(queries: Tensor, units: Tensor, visible: Tensor, rule: Rule) -> Tensor:
    """Score of each unit by `rule`, fp32 [units].

    Args:
        queries: [heads, window, head_dim], after RoPE.
        units: representative keys [kv_heads, units, head_dim].
        visible: which units lie behind which query [window, units].
    """
    heads, window, width = queries.shape
    grouped = queries.float().view(units.shape[0], -1, window, width) / math.sqrt(width)
    values = torch.einsum("hgwd,hud->hgwu", grouped, units.float()).reshape(heads, window, -1)
    if rule.attention:
        values = values.masked_fill(~visible, -math.inf).softmax(-1).nan_to_num(0.0)
    else:
        values = torch.where(visible, values, values.amin())
    over_queries = values.amax(1) if rule.queries == "max" else values.mean(1)
    return over_queries.amax(0) if rule.heads == "max" else over_queries.mean(0)


def rules(base: SlimConfig) -> dict[str, SlimConfig]:
    """The default rule and, for each choice in it, the alternatives; under the schedule of `base`."""
    default = base.with_changes(method="sliminfer", options={})
    found = {"default": default}
    for label, options in (
        ("raw products, no softmax", {"attention": False}),
        ("maximum over queries", {"queries": "max"}),
        ("maximum over heads", {"heads": "max"}),
        ("maximum over queries and heads", {"queries": "max", "heads": "max"}),
        ("mean over the units of a block", {"units": "mean"}),
    ):
        found[label] = default.with_changes(method="scoring-rule", options=options)
    found["blocks by themselves, without their neighbours"] = default.with_changes(options={"half_life": 0})
    for half_life in (4, 16, 32):
        found[f"half-life of {half_life} tokens"] = default.with_changes(options={"half_life": half_life})
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
        block_size=32, query_window=16, aggregate="max", options={"half_life": 16}
    )
    paper = {"attention": False, "half_life": 0, "carry": 0.0}
    found["blocks of 32, mean-key units of 8, raw products, neither neighbours nor earlier scores"] = (
        default.with_changes(method="scoring-rule", block_size=32, unit_size=8, options=paper)
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
