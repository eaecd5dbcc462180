"""The dimensions of decoders with experts in every layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sliminfer.errors import ModelError
from sliminfer.schedule.shapes import ModelShape


def mixture(config: Any, width: int, experts: int, shared: int = 0) -> ModelShape:
    """The shape in `config`, whose layers have `experts` of `width` and one of `shared` that every token passes.

    Raises:
        ModelError: some layers have experts and some an MLP, so that no layer stands for all.
    """
    if getattr(config, "mlp_only_layers", None) or getattr(config, "decoder_sparse_step", 1) != 1:
        raise ModelError(
            f"This {config.model_type} model has experts in some of its layers only, whose cost is not known here: "
            "use one with experts in every layer."
        )
    active = config.num_experts_per_tok
    return replace(ModelShape.of(config), intermediate=width, experts=experts, active_experts=active, shared=shared)
