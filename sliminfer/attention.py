"""Which attention backend a model runs on, and what to call it in results."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend
from transformers.utils.import_utils import is_flash_attn_2_available

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
    """`implementation` as results report it: torch's own with the backend it picks for a causal prefill.

    For instance "flash_attention_2", "eager" or "sdpa/cudnn_attention".
    """
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
