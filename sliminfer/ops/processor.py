"""What this machine's processor has instructions for: read, not raced, so that a machine decides alike every time."""

from __future__ import annotations

from functools import cache

import torch


@cache
def has_amx() -> bool:
    """Whether it multiplies tiles of bf16 (AMX)."""
    return torch.cpu._is_amx_tile_supported()


@cache
def multiplies_bf16() -> bool:
    """Whether it multiplies bf16 at all, by AVX512-BF16 or AMX; others emulate it, many times slower than fp32."""
    return torch.cpu._is_avx512_bf16_supported() or has_amx()
