"""Mixtral: experts in every layer."""

from __future__ import annotations

from typing import Any

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.experts import mixture
from sliminfer.schedule.shapes import ModelShape


def _shape(config: Any) -> ModelShape:
    return mixture(config, config.intermediate_size, config.num_local_experts)


MIXTRAL = Family("mixtral", "Mixtral", shape=_shape, output=MoeModelOutputWithPast)
