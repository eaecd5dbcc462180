"""SlimInfer's score under other rules, for the ablation: known by name, so that its records can be run again, and on no
list of methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.ops.dispatch import unit_keys
from sliminfer.schedule.config import Aggregate
from sliminfer.selectors.base import Attention, PruneView
from sliminfer.selectors.sliminfer import SlimInfer, SlimInferKnobs


@dataclass(frozen=True)
class Rule(SlimInferKnobs):
    """How a block's score comes from the products of queries and keys.

    Attributes:
        attention: softmax over the units first, rather than the raw products.
        queries, heads, units: how the values of a block are brought together, in this order.
    """

    attention: bool = True
    queries: Aggregate = "max"
    heads: Aggregate = "max"
    units: Aggregate = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("queries", "heads", "units"):
            if getattr(self, name) not in ("max", "mean"):
                raise ConfigError(f"Option {name} is {getattr(self, name)!r}: choose max or mean.")


class ScoringRule(SlimInfer):
    """SlimInfer under any `Rule`, without the care for memory and speed that the shipped rule gets."""

    name: ClassVar[str] = "scoring-rule"
    paper: ClassVar[str] = "variants of SlimInfer's score, for the ablation"
    knobs: ClassVar[type[Any]] = Rule

    def by_layer(self, view: PruneView, layer: Attention) -> Tensor:
        size, keys = self.config.unit_size, layer.keys()
        queries = layer.queries(self.prompt.blocks.window).to(keys.device)
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
