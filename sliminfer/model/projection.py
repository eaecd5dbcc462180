"""A layer's queries and keys for chosen hidden states, by the layer's own modules and rotary rule."""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sliminfer.model.fused import is_known_norm
from sliminfer.ops.compat import forward_hooks
from sliminfer.ops.dispatch import rms_norm


def project_queries(layer: nn.Module, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries after RoPE of hidden states entering `layer`.

    Args:
        layer: a decoder layer of the Llama family (separate or fused qkv projection, optional q/k norm).
        hidden: [1, tokens, hidden].
        cos, sin: rotary tables of those tokens [1, tokens, rotary_dim].

    Returns:
        [heads, tokens, head_dim].
    """
    attention: Any = layer.self_attn
    states = _normed(layer, hidden)
    width = attention.config.num_attention_heads * attention.head_dim
    if hasattr(attention, "qkv_proj"):
        flat = _columns(attention.qkv_proj, states, 0, width)
    else:
        flat = attention.q_proj(states)
    return _rotate(attention, flat, "q_norm", cos, sin)


def project_keys(layer: nn.Module, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Keys after RoPE of hidden states entering `layer` [kv_heads, tokens, head_dim]; see `project_queries`."""
    attention: Any = layer.self_attn
    states = _normed(layer, hidden)
    if hasattr(attention, "qkv_proj"):
        start = attention.config.num_attention_heads * attention.head_dim
        width = attention.num_key_value_heads * attention.head_dim
        flat = _columns(attention.qkv_proj, states, start, width)
    else:
        flat = attention.k_proj(states)
    return _rotate(attention, flat, "k_norm", cos, sin)


def _normed(layer: nn.Module, hidden: Tensor) -> Tensor:
    """`hidden` after the layer's first norm: by the fused step where it is of known form."""
    norm: Any = layer.input_layernorm
    if is_known_norm(norm) and not torch.is_grad_enabled():
        return rms_norm(hidden, norm.weight, norm.variance_epsilon)
    states: Tensor = norm(hidden)
    return states


def _columns(linear: nn.Module, states: Tensor, start: int, width: int) -> Tensor:
    """`width` of the outputs of `linear` from `start` on, without computing the others where it is a plain one."""
    if type(linear) is not nn.Linear or any(forward_hooks(linear)):
        chosen: Tensor = linear(states)[..., start : start + width]
        return chosen
    bias = None if linear.bias is None else linear.bias[start : start + width]
    return F.linear(states, linear.weight[start : start + width], bias)


def _rotate(attention: Any, flat: Tensor, norm: str, cos: Tensor, sin: Tensor) -> Tensor:
    heads = flat.view(*flat.shape[:-1], -1, attention.head_dim)
    if hasattr(attention, norm):
        heads = getattr(attention, norm)(heads)
    states = heads.transpose(1, 2)
    # The model family's own rule: Phi-3 rotates a part of each head, others all of it.
    rotary = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    rotated: Tensor = rotary(states, states[:, :1], cos.to(states.device), sin.to(states.device))[0]
    return rotated[0]
