"""All that the engine uses of torch and transformers which those do not promise to keep.

Each has a test in `tests/ops/test_compat.py` that fails where a new version has lost it or means something else by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend


@cache
def has_amx() -> bool:
    """Whether this processor multiplies tiles of bf16 (AMX)."""
    return torch.cpu._is_amx_tile_supported()


@cache
def has_avx512_bf16() -> bool:
    """Whether this processor has dot products of bf16 (AVX512-BF16)."""
    return torch.cpu._is_avx512_bf16_supported()


def causal_backend(query: Tensor, keys: Tensor) -> SDPBackend:
    """What torch's scaled dot-product attention would run causal attention of `query` over `keys` with.

    Args:
        query: [1, heads, tokens, head_dim].
        keys: [1, kv_heads, tokens, head_dim], and values alike.
    """
    grouped = query.shape[1] != keys.shape[1]
    return SDPBackend(torch._fused_sdp_choice(query, keys, keys, is_causal=True, enable_gqa=grouped))


def forward_hooks(module: nn.Module) -> tuple[Mapping[int, Any], ...]:
    """The hooks that wait on `module` alone, at its forward and backward; the tables fill and empty as hooks do."""
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def attention_backend(config: Any) -> str:
    """transformers' name of the attention backend that a model with `config` runs, such as "sdpa" or "eager"."""
    name: str = config._attn_implementation
    return name


def undivided_modules(model: Any) -> list[str]:
    """Class names of the modules of a transformers `model` that must lie on one device each."""
    return sorted(model._no_split_modules)
