"""The dimensions of decoders whose layers differ, counted in a model that has shapes and no weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from sliminfer.model.decoder import decoder_of
from sliminfer.schedule.shapes import LayerShape, ModelShape

# What attentions call the matrix behind them.
_OUT = ("o_proj", "out_proj", "dense")
# What configs call the number of experts that a token passes.
_ACTIVE = ("num_experts_per_tok", "top_k_experts", "moe_k", "moe_topk")


def counted(config: Any) -> ModelShape:
    """The shape of the model that transformers makes of `config`, layer by layer."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layers = decoder_of(model).layers
    found = [_layer(layer, config) for layer in layers]
    widest = max(_wide(layer, config) for layer in layers)
    most = max(found, key=lambda layer: layer.query_width)
    head_dim = most.query_width // config.num_attention_heads
    return ModelShape(
        layers=len(layers),
        hidden=config.hidden_size,
        intermediate=widest // (3 * config.hidden_size),
        heads=config.num_attention_heads,
        kv_heads=max(1, most.kv_width // head_dim),
        head_dim=head_dim,
        vocab=config.vocab_size,
        context=config.max_position_embeddings,
        tied=bool(config.tie_word_embeddings),
        varied=tuple(found),
    )


def _layer(layer: nn.Module, config: Any) -> LayerShape:
    """One layer; where it has a window is for others to say."""
    attention: Any = getattr(layer, "self_attn", None)
    out: Any = next((getattr(attention, name) for name in _OUT if hasattr(attention, name)), None)
    return LayerShape(
        query_width=0 if attention is None else out.in_features,
        kv_width=0 if attention is None else attention.k_proj.out_features,
        passed=sum(_passed(name, weight, config) for name, weight in layer.named_parameters()),
        held=sum(weight.numel() for weight in layer.parameters()),
        mixing=_mixing(getattr(layer, "linear_attn", None)),
    )


def _wide(layer: nn.Module, config: Any) -> int:
    """Weights of the MLP or the experts of `layer` that a token passes."""
    return sum(
        _passed(name, weight, config)
        for name, weight in layer.named_parameters()
        if not name.startswith(("self_attn.", "linear_attn.", "conv."))
    )


def _passed(name: str, weight: nn.Parameter, config: Any) -> int:
    """Weights of one parameter that a token passes: of its own experts alone, none of norms and biases."""
    if "experts" in name.split(".") and "bias" not in name:
        experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
        experts = weight.shape[0] if weight.dim() == 3 else experts or config.n_routed_experts
        active = next(getattr(config, each) for each in _ACTIVE if getattr(config, each, None))
        return int(weight.numel() * active // experts)
    return weight.numel() if weight.dim() > 1 and "norm" not in name and "bias" not in name else 0


def _mixing(linear: Any) -> int:
    """FLOPs a token of a gated delta rule: its state decays, is read twice and written."""
    if linear is None:
        return 0
    return int(7 * linear.num_v_heads * linear.head_k_dim * linear.head_v_dim)
