"""Which attention backend a model runs on, and what to call it in results."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend
from transformers.utils.import_utils import is_flash_attn_2_available

from sliminfer import row_attention

FLASH = "flash_attention_2"
SDPA = "sdpa"


def choose_attention(device: torch.device, dtype: torch.dtype) -> str:
    """transformers' name of the fastest attention backend that runs here.

    flash-attention 2 where the device and type allow it and it imports, be it the flash-attn package or the
    prebuilt kernel of the Hub package `kernels`, which is loaded to see whether it can be. Otherwise torch's
    own, which dispatches to its cuDNN or flash backend on a GPU.
    """
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type == "cuda" and half and _flash_imports():
        return FLASH
    return SDPA


def describe_attention(
    implementation: str, device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, head_dim: int
) -> str:
    """`implementation` as results report it: torch's own with what runs a causal prefill.

    For instance "flash_attention_2", "eager", "sdpa/cudnn_attention", or "sdpa/rows" for `row_attention`.
    """
    if implementation == SDPA and device.type == "cpu" and dtype is torch.bfloat16 and row_attention.pays():
        return f"{SDPA}/rows"
    return stock_attention(implementation, device, dtype, heads, kv_heads, head_dim)


def stock_attention(
    implementation: str, device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, head_dim: int
) -> str:
    """As `describe_attention`, for the stock model, which has torch's own backends only."""
    if implementation != SDPA:
        return implementation
    query = torch.zeros(1, heads, 128, head_dim, device=device, dtype=dtype)
    key = torch.zeros(1, kv_heads, 128, head_dim, device=device, dtype=dtype)
    picked = torch._fused_sdp_choice(query, key, key, is_causal=True, enable_gqa=heads != kv_heads)
    return f"{SDPA}/{SDPBackend(picked).name.lower()}"


def _flash_imports() -> bool:
    try:
        return bool(is_flash_attn_2_available(kernels_fallback_ok=True))
    except TypeError:  # transformers before the Hub fallback
        return bool(is_flash_attn_2_available())
