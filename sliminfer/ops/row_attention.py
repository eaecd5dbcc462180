"""Causal attention of a prompt on a CPU, some rows of the score matrix at a time, in bf16 matrix products.

Torch's flash kernel multiplies its tiles with MKL, whose bf16 product is slow where neither AMX nor an Intel
core is there; oneDNN's, which torch takes for whole matrices, is four to six times as fast. So here the
scores of a few hundred rows are one product, small enough to stay in cache. One core of an AMD EPYC
(Zen 5), 14 heads of 64 over 2 KV heads: 37, 65 and 75 GFLOP/s in the flash kernel at 512, 2,048 and 8,192
tokens, 83, 134 and 164 here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sliminfer.ops.compat import has_amx, has_avx512_bf16
from sliminfer.ops.workspace import Workspace

# Shorter prompts spend too little in attention.
FROM_TOKENS = 512
# Scores held at once, 2 MB in fp32. On two cores at 8,192 tokens 2^18, 2^19, 2^20 and 2^21 give 282, 285, 219
# and 264 GFLOP/s.
_SCORE_ELEMENTS = 1 << 19
# Fewer rows than this, all heads of a group together, would leave a product of long keys waiting for memory.
_LEAST_ROWS = 112
# oneDNN keeps compiled code for every shape that it has met: 0.65 MB and 0.5 ms each. So rows come in powers of two,
# and the keys that they see are rounded up to one of eight extents an octave, at 4 % more work.
_FIRST_EXTENT = 512
_EXTENTS_PER_OCTAVE = 8
_ROOMS = (("scores", torch.float32), ("share", torch.bfloat16))


def pays() -> bool:
    """Whether this CPU multiplies bf16 well in oneDNN but not in MKL: AVX512-BF16 without AMX."""
    return has_avx512_bf16() and not has_amx()


def runs_by_rows(query: Tensor, keys: Tensor) -> bool:
    """Whether causal attention of `query` [1, heads, tokens, head_dim] over `keys` is faster here than in torch."""
    tokens = query.shape[2]
    return (
        tokens >= FROM_TOKENS
        and tokens == keys.shape[2]
        and query.dtype is torch.bfloat16
        and query.device.type == "cpu"
        and pays()
    )


def row_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float, workspace: Workspace) -> Tensor:
    """Causal attention of `tokens` queries over as many keys; scores and softmax in fp32, as in the flash kernel.

    Args:
        query: `[heads, tokens, head_dim]` bf16 on the CPU, after RoPE, any strides.
        keys, values: `[kv_heads, tokens, head_dim]`, likewise; a group of query heads shares one.
        scale: factor of the scores.

    Returns:
        `[tokens, heads, head_dim]` bf16.
    """
    heads, tokens, head_dim = query.shape
    group = heads // len(keys)
    tiles = list(_tiles(tokens, group))
    room = group * max((end - start) * extent for start, end, extent in tiles)
    exact = math.frexp(scale)[0] == 0.5  # a power of two changes no digit of a query
    out = torch.empty(tokens, heads, head_dim, dtype=query.dtype)
    scores_room, share_room = (workspace.take(name, 1, room, kind)[0] for name, kind in _ROOMS)
    with bf16_products:
        for head in range(len(keys)):
            mine = slice(head * group, (head + 1) * group)
            turned = keys[head].float().t()
            for start, end, extent in tiles:
                rows = end - start
                size = group * rows, extent
                wide = query[mine, start:end].float().reshape(-1, head_dim)
                if exact:
                    wide.mul_(scale)
                scores = torch.mm(wide, turned[:, :extent], out=scores_room[: math.prod(size)].view(size))
                if not exact:
                    scores.mul_(scale)
                ahead = torch.ones(rows, extent - start, dtype=torch.bool).triu_(1)
                scores.view(group, rows, extent)[:, :, start:].masked_fill_(ahead, -torch.inf)
                torch.softmax(scores, -1, out=scores)
                share = share_room[: math.prod(size)].view(size).copy_(scores)
                out[start:end, mine] = (
                    torch.mm(share, values[head, :extent]).view(group, rows, head_dim).transpose(0, 1)
                )
    return out


def _tiles(tokens: int, group: int) -> Iterator[tuple[int, int, int]]:
    """Queries from `start` to `end` and the number of first keys that holds all they see, `(start, end, extent)`."""
    start = 0
    while start < tokens:
        step = max(_FIRST_EXTENT, 1 << start.bit_length()) // _EXTENTS_PER_OCTAVE // 2
        extent = _FIRST_EXTENT if start < _FIRST_EXTENT else (start // step + 1) * step
        rows = max(_SCORE_ELEMENTS // extent, _LEAST_ROWS) // group
        # A power of two divides the step, so no tile reaches beyond its extent.
        rows = min(1 << max(rows, 1).bit_length() - 1, step if start >= _FIRST_EXTENT else _FIRST_EXTENT)
        end = min(start + rows, tokens)
        yield start, end, min(extent, tokens)
        start = end


class _Bf16Products:
    """Within the block, fp32 factors that hold bf16 values are multiplied in bf16 without loss; the result stays fp32.

    The setting is the whole process's, so threads share one count: the last to leave puts back what was before the
    first. Another thread's own fp32 products meanwhile are rounded to bf16 as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ""

    def __enter__(self) -> None:
        products: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        with self._lock:
            if self._inside == 0:
                self._before = products.fp32_precision
                products.fp32_precision = "bf16"
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        products: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                products.fp32_precision = self._before


bf16_products = _Bf16Products()
