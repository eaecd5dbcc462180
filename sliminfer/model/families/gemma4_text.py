"""Gemma 4: as Gemma 3, with heads of another size where a layer sees everything, and experts in some models."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor
from transformers.utils.generic import ModelOutput

from sliminfer.errors import ModelError
from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted
from sliminfer.model.families.gemma2 import logit_cap


def _rotate(attention: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    rule = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    rotated: Tensor = rule(states, cos, sin, unsqueeze_dim=1)
    return rotated


def _output(**parts: Any) -> ModelOutput:
    from transformers.models.gemma4.modeling_gemma4 import Gemma4TextModelOutputWithPast

    return Gemma4TextModelOutputWithPast(**parts)


def _check(config: Any) -> None:
    if config.num_kv_shared_layers or config.hidden_size_per_layer_input:
        raise ModelError(
            "This Gemma 4 hands keys from layer to layer or feeds each layer the token again (E2B, E4B), which a "
            "pruned run cannot follow: use one of the larger models."
        )


GEMMA4_TEXT = Family(
    "gemma4_text", "Gemma 4", rotate=_rotate, logit_cap=logit_cap, shape=counted, output=_output, check=_check
)
