"""The rules by which blocks can be scored, one changed at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from statistics import fmean
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sliminfer.config import SlimConfig
from sliminfer.errors import ConfigError
from sliminfer.ops import unit_keys
from sliminfer.records import FULL
from sliminfer.selectors import Attention, PruneView, register
from sliminfer.selectors.sliminfer import SlimInfer, SlimInferKnobs, cell_size
from sliminfer.summary import by_step

Reduction = Literal["max", "mean"]


@dataclass(frozen=True)
class Rule(SlimInferKnobs):
    """How a block's score comes from the products of queries and keys.

    Attributes:
        attention: softmax over the units first, rather than the raw products.
        queries, heads, units: how the values of a block are brought together, in this order.
    """

    attention: bool = True
    queries: Reduction = "max"
    heads: Reduction = "max"
    units: Reduction = "max"

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
    _carried: Tensor | None = None

    def score(self, view: PruneView) -> Tensor:
        scores = reduce(torch.maximum, [self.by_layer(view, layer) for layer in view.layers])
        blocks = self.alive.to(scores.device)
        if self._carried is not None and self.options.carry:
            scores = torch.maximum(scores, self.options.carry * self._carried[blocks])
        self._carried = torch.zeros(len(self.prompt.blocks), device=scores.device)
        self._carried[blocks] = scores
        return scores.clone()

    def by_layer(self, view: PruneView, layer: Attention) -> Tensor:
        size, block = self.config.unit_size, self.config.block_size
        cell = cell_size(self.config, self.options.reach)
        keys = layer.keys()
        queries = layer.queries(self.config.query_window).to(keys.device)
        alive, blocks = view.alive.to(keys.device), self.alive.to(keys.device)
        units = unit_keys(keys, size) if size > 1 else keys
        ends = alive[torch.arange(size, len(alive) + size, size, device=keys.device).clamp(max=len(alive)) - 1]
        per_unit = score_units(queries, units, ends[None] <= alive[-queries.shape[1] :, None], self.options)
        first = alive[::size]
        owner = torch.searchsorted(blocks, first // block) * (block // cell) + first % block // cell
        reduce = "amax" if self.options.units == "max" else "mean"
        cells = torch.full((len(blocks) * (block // cell),), per_unit.min().item(), device=keys.device)
        cells = cells.scatter_reduce(0, owner, per_unit, reduce, include_self=False).view(len(blocks), -1)
        scores = cells.amax(1)
        if cell < block:  # a block is scored by the nearest cell of each neighbour too
            adjacent = blocks.diff() == 1
            scores[1:] = torch.where(adjacent, torch.maximum(scores[1:], cells[:-1, -1]), scores[1:])
            scores[:-1] = torch.where(adjacent, torch.maximum(scores[:-1], cells[1:, 0]), scores[:-1])
        return scores


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
        ("mean over queries", {"queries": "mean"}),
        ("mean over heads", {"heads": "mean"}),
        ("mean over queries and heads", {"queries": "mean", "heads": "mean"}),
        ("mean over the units of a block", {"units": "mean", "reach": 0}),
        ("mean over all three", {"queries": "mean", "heads": "mean", "units": "mean", "reach": 0}),
    ):
        found[label] = default.with_changes(method="scoring-rule", options=options)
    found["blocks by themselves, without their neighbours' edges"] = default.with_changes(options={"reach": 0})
    found["each step by itself, without earlier scores"] = default.with_changes(options={"carry": 0.0})
    for size in (4, 8, 16):
        found[f"mean-key units of {size}"] = default.with_changes(unit_size=size)
    for size in (16, 64, 128):
        found[f"blocks of {size}"] = default.with_changes(block_size=size)
    found["the layer just run alone"] = default.with_changes(score_layer="previous")
    found["the prune layer itself alone"] = default.with_changes(score_layer="own")
    for window in (1, 4, 8, 32, 64):
        found[f"last {window} queries"] = default.with_changes(query_window=window)
    paper = {"attention": False, "queries": "mean", "heads": "mean", "reach": 0, "carry": 0.0}
    found["mean-key units of 8, raw products, mean, neither neighbours nor earlier scores"] = default.with_changes(
        method="scoring-rule", unit_size=8, options=paper
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
