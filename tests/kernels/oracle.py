"""Float64 definitions, written apart from sliminfer.ops.reference, that both it and the kernels must meet."""

from __future__ import annotations

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x = x.double()
    return weight.double() * x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`[tokens, heads, head_dim]` as complex rotation of pairs (i, i + half)."""
    width = cos.shape[-1]
    half = width // 2
    turned, rest = x.double()[..., :width], x.double()[..., width:]
    low, high = turned[..., :half], turned[..., half:]
    cos, sin = cos.double()[:, None], sin.double()[:, None]
    new_low = low * cos[..., :half] - high * sin[..., :half]
    new_high = high * cos[..., half:] + low * sin[..., half:]
    return torch.cat((new_low, new_high, rest), -1)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    gate = gate.double()
    return gate * torch.sigmoid(gate) * up.double()


def unit_keys(keys: Tensor, size: int) -> Tensor:
    return torch.stack([part.double().mean(1) for part in keys.split(size, 1)], 1)


def block_scores(
    queries: Tensor,
    keys: Tensor,
    unit_to_block: Tensor,
    blocks: int,
    scale: float,
    aggregate: str,
    unit_size: int,
    tokens: int | None,
) -> Tensor:
    """Row by row, with keys repeated for each query head and an explicit mask."""
    group = len(queries) // len(keys)
    window, units = queries.shape[1], keys.shape[1]
    logits = torch.einsum("hwd,hud->hwu", queries.double(), keys.double().repeat_interleave(group, 0)) * scale
    if tokens is not None:
        for index in range(window):
            for unit in range(units):
                if min((unit + 1) * unit_size, tokens) - 1 > tokens - window + index:
                    logits[:, index, unit] = -torch.inf
    shares = torch.softmax(logits, -1)
    shares = torch.where(torch.isfinite(shares).all(-1, keepdim=True), shares, 0.0)
    result = torch.zeros(blocks, dtype=torch.float64, device=keys.device)
    for block in range(blocks):
        held = shares[:, :, unit_to_block == block]
        if held.numel():
            result[block] = held.max() if aggregate == "max" else held.mean((0, 1)).max()
    return result


def decode_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    group = len(query) // len(keys)
    keys, values = (x.double().repeat_interleave(group, 0) for x in (keys, values))
    weights = torch.softmax(torch.einsum("hd,htd->ht", query.double(), keys) * scale, -1)
    return torch.einsum("ht,htd->hd", weights, values)
