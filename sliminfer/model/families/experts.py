"""The dimensions of decoders with experts in every layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sliminfer.model.families.counted import counted
from sliminfer.schedule.shapes import ModelShape


def mixture(config: Any, width: int, experts: int, shared: int = 0) -> ModelShape:
    """The shape in `config`, whose layers have `experts` of `width` and one of `shared` that every token passes.

    Where only some layers have them, each is counted.
    """
    if getattr(config, "mlp_only_layers", None) or getattr(config, "decoder_sparse_step", 1) != 1:
        return counted(config)
    active = config.num_experts_per_tok
    return replace(ModelShape.of(config), intermediate=width, experts=experts, active_experts=active, shared=shared)
