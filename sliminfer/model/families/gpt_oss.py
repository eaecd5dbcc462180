"""gpt-oss: experts, every other layer with a window, and a sink that takes a share of each query's attention."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor
from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted
from sliminfer.ops.softmax import Softmax


def _softmax(attention: Any) -> Softmax:
    return Softmax(sinks=attention.sinks)


def _rotate(attention: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    rule = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    rotated: Tensor = rule(states, states[:, :1], cos, sin)[0]
    return rotated


GPT_OSS = Family(
    "gpt_oss",
    "gpt-oss",
    backends=("flash_attention_2",),
    rotate=_rotate,
    softmax=_softmax,
    shape=counted,
    output=MoeModelOutputWithPast,
)
