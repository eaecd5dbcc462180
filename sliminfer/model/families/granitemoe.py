"""Granite MoE: as Granite, with experts in every layer."""

from __future__ import annotations

from typing import Any

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.experts import mixture
from sliminfer.model.families.granite import embedding_scale, logit_scale
from sliminfer.schedule.shapes import ModelShape


def _shape(config: Any) -> ModelShape:
    return mixture(config, config.intermediate_size, config.num_local_experts)


GRANITEMOE = Family(
    "granitemoe",
    "Granite MoE",
    shape=_shape,
    embedding_scale=embedding_scale,
    logit_scale=logit_scale,
    output=MoeModelOutputWithPast,
)
