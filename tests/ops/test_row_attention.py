"""Attention by rows of scores: causal, as exact as torch's kernel, and without a trace in the process's settings."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.ops.row_attention import FROM_TOKENS, _tiles, bf16_products, row_attention, runs_by_rows
from sliminfer.ops.workspace import Workspace


def tensors(tokens: int, heads: int, kv_heads: int, head_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries with the strides of a projection, keys and values with those of a cache that has room to spare."""
    torch.manual_seed(tokens + heads)
    query = 2 * torch.randn(tokens, heads, head_dim).transpose(0, 1)
    store = torch.randn(2, kv_heads, tokens + 16, head_dim)[:, :, :tokens]
    return query.bfloat16(), store[0].bfloat16(), store[1].bfloat16()


def exact(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    wide = (x[None].double() for x in (query, keys, values))
    return F.scaled_dot_product_attention(*wide, is_causal=True, enable_gqa=True)[0].transpose(0, 1)


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(4, 2, 64), (7, 1, 64), (3, 3, 80), (8, 2, 128)])
@pytest.mark.parametrize("tokens", [1, 60, 777, 1500])
def test_as_exact_as_torchs_own_kernel(tokens: int, heads: int, kv_heads: int, head_dim: int) -> None:
    given = tensors(tokens, heads, kv_heads, head_dim)
    truth = exact(*given)
    ours = row_attention(*given, head_dim**-0.5, Workspace())
    batched = (x[None] for x in given)
    theirs = F.scaled_dot_product_attention(*batched, is_causal=True, enable_gqa=True)[0].transpose(0, 1)
    assert (ours.double() - truth).norm() <= 1.5 * (theirs.double() - truth).norm() + 1e-3 * truth.norm()


def test_no_row_sees_a_later_key() -> None:
    query, keys, values = tensors(900, 4, 2, 64)
    before = row_attention(query, keys, values, 0.125, Workspace())
    keys[:, 700:], values[:, 700:] = 5.0, -3.0
    after = row_attention(query, keys, values, 0.125, Workspace())
    assert torch.equal(after[:700], before[:700])
    assert not torch.equal(after[700:], before[700:])


@pytest.mark.parametrize("tokens", [1, 95, 512, 900, 33_000])
@pytest.mark.parametrize("group", [1, 4, 7])
def test_tiles_cover_every_row_once_and_come_in_few_shapes(tokens: int, group: int) -> None:
    tiles = list(_tiles(tokens, group))
    assert [row for start, end, _ in tiles for row in range(start, end)] == list(range(tokens))
    assert all(end <= extent <= max(512, 1.13 * end + 1, end + 64) for _, end, extent in tiles)
    assert max(group * (end - start) * extent for start, end, extent in tiles) <= max(1 << 19, 112 * tokens)
    # Every shape costs compiled code that is never given back.
    assert len({(end - start, extent) for start, end, extent in tiles}) <= 4 + 8 * max(1, tokens // 512).bit_length()


def test_the_precision_setting_is_put_back_even_after_an_error() -> None:
    products: Any = torch.backends.mkldnn.matmul
    before = products.fp32_precision
    query, keys, values = tensors(64, 2, 1, 64)
    row_attention(query, keys, values, 0.125, Workspace())
    assert products.fp32_precision == before
    with pytest.raises(RuntimeError):
        row_attention(query, keys[..., :32], values, 0.125, Workspace())
    assert products.fp32_precision == before


def test_the_setting_is_put_back_where_two_threads_interleave() -> None:
    products: Any = torch.backends.mkldnn.matmul
    before, entered, leave = products.fp32_precision, threading.Event(), threading.Event()

    def outlasting() -> None:
        with bf16_products:
            entered.set()
            leave.wait(10)
            assert products.fp32_precision == "bf16"

    thread = threading.Thread(target=outlasting)
    with bf16_products:
        thread.start()
        entered.wait(10)
    assert products.fp32_precision == "bf16"
    leave.set()
    thread.join()
    assert products.fp32_precision == before


def test_only_long_bf16_prompts_of_a_cpu_take_it() -> None:
    query, keys, _ = tensors(FROM_TOKENS, 2, 1, 16)
    assert not runs_by_rows(query[None, :, 1:], keys[None, :, 1:])
    assert not runs_by_rows(query[None].float(), keys[None].float())
    assert not runs_by_rows(query[None, :, -1:], keys[None])
    assert not runs_by_rows(query[None].to("meta"), keys[None].to("meta"))
