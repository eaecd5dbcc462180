"""Modules whose weights stay in the blocks of a GGUF file and are unpacked for every product.

They take the place of linear layers and embeddings in a model that is loaded with `--packed`. The weights take a
quarter to a half of the memory; each product pays for the unpacking, which a long prompt hardly notices and a decoded
token does. transformers has such modules for a few architectures, and there only with a kernel from the Hub.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sliminfer.ops.ggml import FORMATS, unpack_rows

# Most weights that one product unpacks at once: 128 MB in bf16.
_SLICE = 64 * 2**20


class PackedLinear(nn.Module):
    """`nn.Linear` with `weight` as blocks, [out_features, bytes] in uint8, of the format `kind`."""

    def __init__(self, weight: nn.Parameter, kind: str, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight, self.kind, self.bias = weight, kind, bias
        self.out_features = len(weight)
        self.in_features = weight.shape[1] // FORMATS[kind].size * FORMATS[kind].values

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] to [..., out_features], in the type of `x`."""
        rows = max(1, _SLICE // self.in_features)
        weights = self.weight.split(rows)
        biases: Sequence[Tensor | None] = [None] * len(weights) if self.bias is None else self.bias.split(rows)
        parts = [F.linear(x, unpack_rows(w, self.kind, x.dtype), bias) for w, bias in zip(weights, biases)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {self.kind}"


class PackedEmbedding(nn.Module):
    """`nn.Embedding` with `weight` as blocks, [entries, bytes] in uint8, of the format `kind`; gives `dtype`."""

    def __init__(self, weight: nn.Parameter, kind: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.kind, self.dtype = weight, kind, dtype

    def forward(self, ids: Tensor) -> Tensor:
        """[...] ids to [..., columns]."""
        rows = unpack_rows(self.weight[ids.reshape(-1)], self.kind, self.dtype)
        return rows.view(*ids.shape, -1)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, {self.kind}"
