"""On a GPU: bf16 at the sizes of a real model, and fused layers of a real width against the stock ones."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from sliminfer.ops import block_rows, reference
from sliminfer.ops import dispatch as ops
from tests.kernels import oracle
from tests.kernels.checks import BOUNDS, Draw, error, poisoned
from tests.kernels.fusing import fuse_layer_ops

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
BOUND = BOUNDS[torch.bfloat16]


@pytest.fixture(autouse=True)
def triton_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel that falls back to torch fails the test: its warning is an error."""
    monkeypatch.setattr(ops, "_state", ops._State())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.fixture
def draw() -> Draw:
    return Draw(31, torch.bfloat16, torch.device("cuda"))


def test_rms_norm(draw: Draw, monkeypatch: Any) -> None:
    for rows, columns in ((8192, 4096), (4096, 896), (65536, 128), (1, 4096), (300, 8192)):
        x, residual, weight = draw(rows, columns), draw(rows, columns), draw(columns)
        total = x + residual
        with poisoned(monkeypatch):
            alone = ops.rms_norm(x, weight, 1e-5)
            wanted = oracle.rms_norm(x, weight, 1e-5)
            normed, held = ops.rms_norm_residual(x, residual, weight, 1e-5)
        assert error(alone, wanted) < BOUND
        assert torch.equal(held, total)
        assert error(normed, oracle.rms_norm(total, weight, 1e-5)) < BOUND


def test_rope_is_no_less_exact_than_torch(draw: Draw) -> None:
    for tokens, heads, kv_heads, dim in ((8192, 32, 8, 128), (4096, 14, 2, 64), (1, 32, 8, 128)):
        query, key = draw(tokens, heads, dim), draw(tokens, kv_heads, dim)
        angles = draw(tokens, dim).float()
        cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
        wanted = oracle.rope(query, cos, sin), oracle.rope(key, cos, sin)
        plain = reference.apply_rope(query.clone(), key.clone(), cos, sin)
        ops.apply_rope(query, key, cos, sin)
        assert error(query, wanted[0]) <= error(plain[0], wanted[0])
        assert error(key, wanted[1]) <= error(plain[1], wanted[1])


def test_swiglu(draw: Draw) -> None:
    for rows, columns in ((4096, 14336), (1, 14336), (8192, 4864)):
        gate, up = draw(rows, columns), draw(rows, columns)
        wanted = oracle.swiglu(gate, up)
        assert error(ops.swiglu(gate, up), wanted) < BOUND


def test_unit_keys(draw: Draw, monkeypatch: Any) -> None:
    keys = draw(8, 32_768 + 7, 128)[:, : 32_768 + 5]
    with poisoned(monkeypatch):
        out = ops.unit_keys(keys, 8)
    assert error(out, reference.unit_keys(keys.float(), 8)) < BOUND


@pytest.mark.parametrize("aggregate", ["max", "mean"])
@pytest.mark.parametrize(("window", "tokens"), [(16, 32_768), (16, 8_209), (64, 4_096)])
def test_block_scores_of_a_prompt(draw: Draw, aggregate: str, window: int, tokens: int, monkeypatch: Any) -> None:
    queries, keys = draw(32, window, 128), draw(8, tokens, 128)
    owner = torch.arange(tokens, device="cuda") // 32
    blocks = -(-tokens // 32)
    options = (owner, blocks, 1 / math.sqrt(128), aggregate, 1, tokens)
    with poisoned(monkeypatch):
        out = ops.block_scores(queries, keys, *options)
    assert error(out, reference.block_scores(queries.float(), keys.float(), *options)) < 1e-3
    again = ops.block_scores(queries, keys, *options)
    assert torch.equal(out, again)


def test_block_scores_of_one_decoded_query(draw: Draw) -> None:
    queries, keys = draw(32, 1, 128), draw(8, 4099, 128)
    owner = torch.arange(4099, device="cuda") // 4
    out = ops.block_scores(queries, keys, owner, 1025, 1 / math.sqrt(128), "max")
    wanted = reference.block_scores(queries.float(), keys.float(), owner, 1025, 1 / math.sqrt(128), "max")
    assert error(out, wanted) < 1e-3


@pytest.mark.parametrize("tokens", [1, 1000, 32_768, 131_072])
@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(32, 8, 128), (14, 2, 64)])
def test_decode_attention(draw: Draw, tokens: int, heads: int, kv_heads: int, dim: int, monkeypatch: Any) -> None:
    query, buffer = draw(heads, dim), draw(2, kv_heads, tokens + 256, dim)
    keys, values = buffer[0, :, :tokens], buffer[1, :, :tokens]
    with poisoned(monkeypatch):
        out = ops.decode_attention(query, keys, values, dim**-0.5)
    assert error(out, oracle.decode_attention(query, keys, values, dim**-0.5)) < BOUND


@pytest.mark.parametrize("held", [0, 999, 32_767, 131_071])
@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(32, 8, 128), (14, 2, 64), (12, 2, 128)])
def test_attention_over_what_a_row_names(
    draw: Draw, held: int, heads: int, kv_heads: int, dim: int, monkeypatch: Any
) -> None:
    query, store = draw(heads, dim), draw(2, kv_heads, held + 9, dim)
    row = torch.tensor([store.data_ptr(), held + 9, held, 0], device="cuda")
    key, value, angles = draw(kv_heads, dim), draw(kv_heads, dim), draw(dim).float()
    cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
    ops.append_rotated(query, key.clone(), value, cos, sin, store, row)
    with poisoned(monkeypatch):
        out = ops.attend_row(query, store, row, dim**-0.5)
    keys, values = store[:, :, : held + 1]
    assert error(keys[:, held], oracle.rope(key[None], cos[None], sin[None])[0]) < BOUND
    assert torch.equal(values[:, held], value)
    assert error(out, oracle.decode_attention(query, keys, values, dim**-0.5)) < BOUND


@pytest.mark.parametrize(("blocks", "budget"), [(256, 40), (4096, 700)])
def test_the_choice_among_many_blocks(blocks: int, budget: int) -> None:
    draw = Draw(33, torch.float32, torch.device("cuda"))
    first, second, best = (draw(blocks).abs() for _ in range(3))
    marks = torch.zeros(blocks, dtype=torch.int32, device="cuda")
    marks[0] = marks[-1] = 1
    arguments = (first, second, best, torch.arange(blocks, device="cuda"), marks, budget, 32, blocks * 32 - 5)
    found = ops.choose_blocks(*arguments, 1.0, 0.5, 0.0625)
    wanted = reference.choose_blocks(*arguments, 1.0, 0.5, 0.0625)
    for ours, plain in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, plain)


def test_fp32_products_are_not_rounded_to_tf32() -> None:
    draw = Draw(32, torch.float32, torch.device("cuda"))
    query, keys, values = draw(32, 128), draw(8, 5000, 128), draw(8, 5000, 128)
    out = ops.decode_attention(query, keys, values, 0.1)
    assert error(out, oracle.decode_attention(query, keys, values, 0.1)) < 5e-6
    queries, owner = draw(32, 16, 128), torch.arange(5000, device="cuda") // 32
    options = (owner, 157, 0.1, "max", 1, 5000)
    wanted = reference.block_scores(queries, keys, *options)
    assert error(ops.block_scores(queries, keys, *options), wanted) < 2e-5


def small_llama(layers: int = 2) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=1024, hidden_size=4096, intermediate_size=14336, num_hidden_layers=layers,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131_072,
    )  # fmt: skip


def small_qwen3() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=1024, hidden_size=1024, intermediate_size=3072, num_hidden_layers=2,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128, max_position_embeddings=40_960,
    )  # fmt: skip


def build(config: Any) -> Any:
    torch.manual_seed(0)
    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


@pytest.mark.parametrize("config", [small_llama(), small_qwen3()], ids=["llama", "qwen3"])
def test_fused_layers_agree_with_the_stock_model(config: Any) -> None:
    """Prefill in two MLP slices, then decode: as close to an fp32 run as the stock bf16 model is."""
    model = build(config)
    ids = torch.randint(0, 1024, (1, 3001), device="cuda")
    exact = build(config).float()

    def run(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        first = model(ids, logits_to_keep=64)
        then = model(ids[:, :1], past_key_values=first.past_key_values)
        return first.logits, then.logits

    wanted, stock = run(exact), run(model)
    with fuse_layer_ops(model, mlp_slice=2048) as fused_layers:
        fused = run(model)
    assert fused_layers == 2
    assert set(ops.kernels_ran().values()) == {"triton"}
    assert "decode_attention" in ops.kernels_ran()
    for ours, theirs, right in zip(fused, stock, wanted):
        assert error(ours, right) < 1.1 * error(theirs, right) + 1e-4


def test_fused_layers_need_less_memory() -> None:
    model = build(small_llama(1))
    ids = torch.randint(0, 1024, (1, 32_768), device="cuda")

    def peak() -> int:
        model(ids, logits_to_keep=1)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        model(ids, logits_to_keep=1)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - held

    stock = peak()
    with fuse_layer_ops(model):
        fused = peak()
    assert fused < 0.6 * stock


def test_a_failing_kernel_falls_back_once(draw: Draw, monkeypatch: Any) -> None:
    from triton.runtime.errors import PTXASError

    def broken(*_: Any) -> None:
        raise PTXASError("no such instruction")

    monkeypatch.setitem(ops._state.kernels, "rms_norm", broken)
    x, weight = draw(4, 64), draw(64)
    with pytest.warns(RuntimeWarning, match="rms_norm cannot run on cuda"):
        out = ops.rms_norm(x, weight, 1e-5)
    assert error(out, oracle.rms_norm(x, weight, 1e-5)) < BOUND
    ops.rms_norm(x, weight, 1e-5)  # a second warning would be an error
    assert ops.kernels_ran()["rms_norm"] == "torch"


@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(32, 8, 128), (14, 2, 64)])
@pytest.mark.parametrize("block", [64, 128])
def test_sparse_attention(draw: Draw, heads: int, kv_heads: int, dim: int, block: int, monkeypatch: Any) -> None:
    """Any length, a last block that is not whole, tables for groups and for heads."""
    for tokens, tables in ((4096, kv_heads), (3001, heads), (block - 1, 1)):
        query, keys, values = (draw(tokens, n, dim).transpose(0, 1) for n in (heads, kv_heads, kv_heads))
        blocks = -(-tokens // block)
        table = torch.rand(tables, blocks, blocks, device="cuda") < 0.3
        table = (table | torch.eye(blocks, dtype=torch.bool, device="cuda")).tril()
        with poisoned(monkeypatch):
            out = ops.sparse_attention(query, keys, values, table, block, dim**-0.5)
        wide = (x.float() for x in (query, keys, values))
        assert error(out, block_rows.sparse_attention(*wide, table, block, dim**-0.5)) < BOUND
