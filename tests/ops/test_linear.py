"""Linear modules by the fastest route: the module's own result, whatever the route."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from sliminfer.ops import linear as linear_module
from sliminfer.ops.linear import is_plain, linear
from sliminfer.ops.workspace import Workspace


def made(bias: bool, dtype: torch.dtype) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(96, 160, bias=bias, dtype=dtype)


@torch.inference_mode()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [2, 127, 128, 300])
def test_rows_have_the_bits_of_the_module(bias: bool, dtype: torch.dtype, rows: int) -> None:
    module, x = made(bias, dtype), torch.randn(1, rows, 96, dtype=dtype)
    wanted = module(x)
    assert torch.equal(linear(module, x), wanted)
    assert torch.equal(linear(module, x, Workspace(), "any"), wanted)


@torch.inference_mode()
def test_results_of_one_name_share_memory() -> None:
    module, x, workspace = made(False, torch.float32), torch.randn(200, 96), Workspace()
    first = linear(module, x, workspace, "one")
    assert linear(module, x, workspace, "one").data_ptr() == first.data_ptr()
    assert linear(module, x, workspace, "two").data_ptr() != first.data_ptr()


@torch.inference_mode()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("pays", [False, True])
def test_one_row_is_as_exact_as_the_module(bias: bool, pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, "vectors_pay", lambda: pays)
    module, x = made(bias, torch.bfloat16), torch.randn(1, 1, 96, dtype=torch.bfloat16)
    exact = module.double()(x.double())
    got = linear(module.bfloat16(), x)
    assert got.shape == exact.shape
    # One rounding to eight bits of a sum that is as good as exact.
    assert torch.allclose(got.double(), exact, rtol=2**-8, atol=2**-8)


@torch.inference_mode()
def test_one_row_in_fp32_keeps_the_bits() -> None:
    module, x = made(True, torch.float32), torch.randn(1, 1, 96)
    assert torch.equal(linear(module, x), module(x))


@torch.inference_mode()
def test_a_module_with_something_attached_runs_itself() -> None:
    module, x = made(True, torch.float32), torch.randn(1, 200, 96)
    assert is_plain(module)
    module.register_forward_hook(lambda _module, _args, out: out + 1)
    assert not is_plain(module)
    assert torch.equal(linear(module, x, Workspace(), "any"), module(x))


@pytest.mark.parametrize("amx", [False, True])
def test_the_processors_flags_decide_and_no_clock(amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, "has_amx", lambda: amx)
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("a clock was read"))
    assert linear_module.vectors_pay() is amx
