"""A layer's queries and keys for chosen hidden states, by the layer's own modules and rotary rule."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sliminfer.model.families import FAMILIES
from sliminfer.model.families.base import Family
from sliminfer.model.fused import is_known_norm
from sliminfer.ops.dispatch import apply_rope, rms_norm, runs_triton
from sliminfer.ops.linear import is_plain


def project_queries(
    layer: nn.Module,
    hidden: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    family: Family | None = None,
) -> Tensor:
    """Queries after RoPE of hidden states entering `layer`.

    Args:
        layer: a decoder layer of a known family (separate or fused qkv projection).
        hidden: [1, tokens, hidden].
        cos, sin: rotary tables of those tokens [1, tokens, rotary_dim].
        positions: that they were made from, int64 [tokens], for families with a temperature.
        family: the layer's, where it is none of the list.

    Returns:
        [heads, tokens, head_dim]. Where the layer scales its scores otherwise than by 1 / sqrt(head_dim), they are
        multiplied by what is missing, so that whoever scores may scale all layers alike.
    """
    attention: Any = layer.self_attn
    family = FAMILIES[attention.config.model_type] if family is None else family
    states = _normed(layer, family, hidden)
    if hasattr(attention, "qkv_proj"):
        flat = _columns(attention.qkv_proj, states, 0, attention.config.num_attention_heads * attention.head_dim)
    else:
        flat = attention.q_proj(states)
    if family.gated_queries:
        heads = flat.unflatten(-1, (-1, 2 * attention.head_dim))
        flat = heads[..., : attention.head_dim].flatten(-2)
    queries = _heads(attention, family, flat, family.query_norm, cos, sin)
    if family.temperature is not None and positions is not None:
        heat = family.temperature(attention, positions).to(queries)
        queries = queries * heat[:, None]
    scale = attention.scaling * math.sqrt(attention.head_dim)
    return queries if math.isclose(scale, 1.0, rel_tol=1e-6) else queries * scale


def project_keys(
    layer: nn.Module, hidden: Tensor, cos: Tensor, sin: Tensor, family: Family | None = None
) -> Tensor:
    """Keys after RoPE of hidden states entering `layer` [kv_heads, tokens, head_dim]; see `project_queries`."""
    attention: Any = layer.self_attn
    family = FAMILIES[attention.config.model_type] if family is None else family
    states = _normed(layer, family, hidden)
    if hasattr(attention, "qkv_proj"):
        start = attention.config.num_attention_heads * attention.head_dim
        width = attention.num_key_value_heads * attention.head_dim
        flat = _columns(attention.qkv_proj, states, start, width)
    else:
        flat = attention.k_proj(states)
    return _heads(attention, family, flat, family.key_norm, cos, sin)


def _normed(layer: nn.Module, family: Family, hidden: Tensor) -> Tensor:
    """`hidden` as the layer's attention gets it: its norm by the fused step where that is of known form."""
    if family.input_norm is None:
        return hidden
    norm: Any = getattr(layer, family.input_norm)
    if is_known_norm(norm) and not torch.is_grad_enabled():
        return rms_norm(hidden, norm.weight, norm.variance_epsilon)
    states: Tensor = norm(hidden)
    return states


def _turns_at_once(family: Family, states: Tensor) -> bool:
    return family.fused is not None and runs_triton("apply_rope", states.device) and not torch.is_grad_enabled()


def _each_head(norm: nn.Module, heads: Tensor) -> Tensor:
    """`norm` of each head [1, tokens, heads, head_dim], in one launch where a GPU has one for it."""
    if runs_triton("rms_norm", heads.device) and is_known_norm(norm) and not torch.is_grad_enabled():
        module: Any = norm
        return rms_norm(heads, module.weight, module.variance_epsilon)
    normed: Tensor = norm(heads)
    return normed


def _columns(linear: Any, states: Tensor, start: int, width: int) -> Tensor:
    """`width` of the outputs of `linear` from `start` on, without computing the others where it is a plain one."""
    if not is_plain(linear):
        chosen: Tensor = linear(states)[..., start : start + width]
        return chosen
    bias = None if linear.bias is None else linear.bias[start : start + width]
    return F.linear(states, linear.weight[start : start + width], bias)


def _heads(attention: Any, family: Family, flat: Tensor, norm: str, cos: Tensor, sin: Tensor) -> Tensor:
    """Projections [1, tokens, width] normed and rotated as the family does it, [heads, tokens, head_dim]."""
    place = family.normed if hasattr(attention, norm) else None
    if place == "width":
        flat = getattr(attention, norm)(flat)
    heads = flat.view(*flat.shape[:-1], -1, attention.head_dim)
    if place == "heads":
        heads = _each_head(getattr(attention, norm), heads)
    states = heads.transpose(1, 2)
    if place == "rows":
        states = getattr(attention, norm)(states)
    cos, sin = cos.to(states.device), sin.to(states.device)
    if family.rotates(attention) and _turns_at_once(family, states):
        # In one launch, over what a projection has just made.
        apply_rope(states[0].transpose(0, 1), states[0, :0].transpose(0, 1), cos[0], sin[0])
    elif family.rotates(attention):
        states = family.rotate(attention, states, cos, sin)
    if place == "rotated":
        states = getattr(attention, norm)(states)
    return states[0]
