"""RMSNorm, RoPE, SwiGLU and unit keys: kernels and their torch definitions against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sliminfer.kernels import rms_norm_residual, rope, swiglu, unit_keys
from sliminfer.ops import reference
from tests.kernels import oracle
from tests.kernels.checks import BOUNDS, Draw, error, poisoned

IMPLEMENTATIONS = ["torch", "triton"]
Op = Callable[..., Any]


def pick(implementation: str, module: Any, name: str) -> Op:
    return getattr(reference if implementation == "torch" else module, name)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", [(1, 32), (63, 64), (65, 96), (5, 3, 128), (2, 4100)])
def test_rms_norm(
    implementation: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, monkeypatch: Any
) -> None:
    draw = Draw(1, dtype, device)
    x, weight = draw(*shape), draw(shape[-1])
    with poisoned(monkeypatch):
        out = pick(implementation, rms_norm_residual, "rms_norm")(x, weight, 1e-5)
    assert error(out, oracle.rms_norm(x, weight, 1e-5)) < BOUNDS[dtype]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("rows", [1, 64, 423])
def test_rms_norm_residual_gives_the_sum_and_its_norm(
    implementation: str, rows: int, dtype: torch.dtype, device: torch.device, monkeypatch: Any
) -> None:
    draw = Draw(2, dtype, device)
    x, residual, weight = draw(1, rows, 96), draw(1, rows, 96), draw(96)
    total = x + residual
    with poisoned(monkeypatch):
        op = pick(implementation, rms_norm_residual, "rms_norm_residual")
        normed, held = op(x, residual, weight, 1e-6)
    assert held.data_ptr() == x.data_ptr()
    assert torch.equal(held, total)
    assert error(normed, oracle.rms_norm(total, weight, 1e-6)) < BOUNDS[dtype]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_rms_norm_keeps_trouble_in_its_row(implementation: str, device: torch.device) -> None:
    draw = Draw(3, torch.float32, device)
    x, weight = draw(4, 64), draw(64)
    x[1, 3], x[2, 5], x[3] = float("nan"), float("inf"), 0.0
    out = pick(implementation, rms_norm_residual, "rms_norm")(x, weight, 1e-6)
    assert error(out[0], oracle.rms_norm(x[0], weight, 1e-6)) < 1e-6
    assert out[1].isnan().all()
    assert not out[2].isfinite().all()
    assert (out[3] == 0).all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_rms_norm_reads_rows_with_gaps(implementation: str, device: torch.device) -> None:
    draw = Draw(4, torch.float32, device)
    x, weight = draw(9, 160)[:, 32:128], draw(96)
    out = pick(implementation, rms_norm_residual, "rms_norm")(x, weight, 1e-6)
    assert error(out, oracle.rms_norm(x, weight, 1e-6)) < 1e-6


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("tokens", "heads", "kv_heads", "dim", "rotary"),
    [(1, 1, 1, 32, 32), (63, 4, 2, 64, 64), (65, 7, 1, 96, 96), (10, 8, 1, 128, 128), (5, 6, 2, 96, 48)],
)
def test_rope(
    implementation: str,
    tokens: int,
    heads: int,
    kv_heads: int,
    dim: int,
    rotary: int,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    draw = Draw(5, dtype, device)
    together = draw(tokens, heads + kv_heads + 1, dim)  # as a fused projection lays them out
    query, key, other = together.split((heads, kv_heads, 1), 1)
    angles = draw(tokens, rotary).float()
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    wanted = oracle.rope(query, cos, sin), oracle.rope(key, cos, sin)
    untouched = other.clone()
    pick(implementation, rope, "apply_rope")(query, key, cos, sin)
    assert error(query, wanted[0]) < BOUNDS[dtype]
    assert error(key, wanted[1]) < BOUNDS[dtype]
    assert torch.equal(other, untouched)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1023), (65, 64), (2, 2500)])
def test_swiglu(implementation: str, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> None:
    draw = Draw(6, dtype, device)
    together = draw(shape[0], 2 * shape[1])
    gate, up = together.chunk(2, -1)
    wanted, before = oracle.swiglu(gate, up), up.clone()
    out = pick(implementation, swiglu, "swiglu")(gate, up)
    assert out.data_ptr() == gate.data_ptr()
    assert error(out, wanted) < BOUNDS[dtype]
    assert torch.equal(up, before)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_swiglu_at_the_ends_of_the_range(implementation: str, device: torch.device) -> None:
    gate = torch.tensor([[-1e4, 1e4, 0.0, float("nan"), float("inf"), -50.0]], device=device)
    out = pick(implementation, swiglu, "swiglu")(gate.clone(), torch.ones_like(gate))
    assert out[0, :3].tolist() == [0.0, 1e4, 0.0]
    assert out[0, 3].isnan()
    assert out[0, 4] == float("inf")
    assert abs(float(out[0, 5])) < 1e-19


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 423])
@pytest.mark.parametrize(("unit", "dim"), [(1, 64), (4, 96), (8, 128)])
def test_unit_keys(
    implementation: str,
    tokens: int,
    unit: int,
    dim: int,
    dtype: torch.dtype,
    device: torch.device,
    monkeypatch: Any,
) -> None:
    keys = Draw(7, dtype, device)(2, tokens + 3, dim)[:, :tokens]  # a view of a buffer with room to grow
    with poisoned(monkeypatch):
        out = pick(implementation, unit_keys, "unit_keys")(keys, unit)
    assert error(out, oracle.unit_keys(keys, unit)) < BOUNDS[dtype]


def test_the_guard_against_unwritten_output_sees_one(monkeypatch: Any) -> None:
    with poisoned(monkeypatch):
        out = torch.empty(3)
    assert not error(out, torch.ones(3)) < BOUNDS[torch.bfloat16]


def test_torch_norm_and_gate_have_the_stock_bits() -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

    draw = Draw(8, torch.bfloat16, torch.device("cpu"))
    norm = LlamaRMSNorm(96, eps=1e-5).to(torch.bfloat16)
    norm.weight.data = draw(96)
    x = draw(1, 70, 96)
    assert torch.equal(reference.rms_norm(x, norm.weight, 1e-5), norm(x))
    query, key, cos, sin = draw(70, 6, 32), draw(70, 2, 32), draw(1, 70, 32), draw(1, 70, 32)
    wanted: tuple[Tensor, Tensor] = apply_rotary_pos_emb(
        query[None].transpose(1, 2), key[None].transpose(1, 2), cos, sin
    )
    reference.apply_rope(query, key, cos[0], sin[0])
    assert torch.equal(query, wanted[0][0].transpose(0, 1))
    assert torch.equal(key, wanted[1][0].transpose(0, 1))
    gate, up = draw(9, 40), draw(9, 40)
    product = torch.nn.functional.silu(gate) * up
    assert torch.equal(reference.swiglu(gate, up), product)
