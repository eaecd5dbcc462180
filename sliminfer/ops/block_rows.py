"""Causal attention of a prompt over chosen blocks of keys, in plain torch: some rows of chosen scores at a time.

For each block of queries the keys and values that it reads are copied together, so that its scores are one matrix
product; the query heads of a group that choose together share the copy. On a CPU with fast bf16 products these are
used as in `row_attention`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.ops.row_attention import bf16_products, pays

# Scores held at once, as in `row_attention`.
_SCORE_ELEMENTS = 1 << 19
_LEAST_ROWS = 16


def sparse_attention(query: Tensor, keys: Tensor, values: Tensor, table: Tensor, block: int, scale: float) -> Tensor:
    """Softmax attention of each block of queries over the keys up to it in the blocks that `table` names.

    Args:
        query: [heads, rows, head_dim], after RoPE, any strides: of all tokens, or of the last ones from the first of a
            block on.
        keys, values: [kv_heads, tokens, head_dim], likewise; a group of query heads shares one.
        table: which blocks of keys each block of queries reads, its own among them and none after it, bool
            [tables, blocks of rows, blocks]: one for each query head, for each group of them, or for all.
        block: tokens per block.
        scale: factor of the scores.

    Returns:
        [rows, heads, head_dim], of the type of `query`; scores and softmax in fp32.
    """
    heads, tokens, head_dim = query.shape
    before = (keys.shape[1] - tokens) // block
    tables = max(len(table), len(keys))  # a head of keys at a time at most
    together, shared = heads // tables, tables // len(keys)
    out = torch.empty(tokens, heads, head_dim, dtype=query.dtype, device=query.device)
    chosen = table.cpu()
    fast = query.dtype is torch.bfloat16 and query.device.type == "cpu" and pays()
    wide_type = torch.float32 if query.dtype in (torch.bfloat16, torch.float16) else query.dtype
    with bf16_products if fast else nullcontext():
        for index in range(tables):
            mine = slice(index * together, (index + 1) * together)
            own_keys = _in_blocks(keys[index // shared].to(wide_type), block)
            own_values = _in_blocks(values[index // shared].to(query.dtype if fast else wide_type), block)
            rows_of = chosen[index * len(table) // tables]
            for start, end in _spans(tokens, block):
                read = rows_of[start // block].nonzero()[:, 0]
                if len(read) == before + start // block + 1:
                    some_keys, some_values = own_keys[: len(read)], own_values[: len(read)]
                else:
                    some_keys = own_keys.index_select(0, read.to(keys.device))
                    some_values = own_values.index_select(0, read.to(keys.device))
                turned, some_values = some_keys.flatten(0, 1).t(), some_values.flatten(0, 1)
                for first, last in _tiles(start, end, together * len(some_values)):
                    rows = last - first
                    part = query[mine, first:last].to(wide_type).reshape(-1, head_dim)
                    scores = torch.mm(part, turned).mul_(scale)
                    # The last block read is the queries' own: there keys come after them, and beyond the prompt.
                    ahead = torch.ones(rows, block, dtype=torch.bool, device=query.device).triu_(1 + first - start)
                    scores.view(together, rows, -1)[:, :, -block:].masked_fill_(ahead, -torch.inf)
                    shares = torch.softmax(scores, -1, out=scores).to(some_values.dtype)
                    out[first:last, mine] = torch.mm(shares, some_values).view(together, rows, -1).transpose(0, 1)
    return out


def _in_blocks(states: Tensor, block: int) -> Tensor:
    """[tokens, width] as whole blocks, zeros behind the last token [blocks, block, width]."""
    return F.pad(states, (0, 0, 0, -len(states) % block)).view(-1, block, states.shape[1])


def _spans(tokens: int, block: int) -> Iterator[tuple[int, int]]:
    for start in range(0, tokens, block):
        yield start, min(start + block, tokens)


def _tiles(start: int, end: int, row_elements: int) -> Iterator[tuple[int, int]]:
    """Queries `start` to `end` in pieces of a power of two, whose scores stay in cache."""
    rows: Any = max(_SCORE_ELEMENTS // row_elements, _LEAST_ROWS)
    step = 1 << rows.bit_length() - 1
    for first in range(start, end, step):
        yield first, min(first + step, end)
