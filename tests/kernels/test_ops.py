"""Operations go where they are sent, and to torch where a kernel fails."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from sliminfer.errors import ConfigError
from sliminfer.model.attention import choose_attention, describe_attention
from sliminfer.ops import dispatch as ops
from sliminfer.ops import reference
from tests.kernels.checks import Draw

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="states what happens without a GPU")


@pytest.fixture(autouse=True)
def fresh_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "_state", ops._State())


@pytest.fixture
def draw() -> Draw:
    return Draw(41, torch.float32, torch.device("cpu"))


@needs_no_gpu
def test_auto_runs_torch_on_a_cpu(draw: Draw) -> None:
    gate = draw(2, 8)
    with ops.use_kernels("auto"):
        ops.swiglu(gate, draw(2, 8))
    assert ops.kernels_ran() == {"swiglu": "torch"}
    ops.forget_kernels_ran()
    assert ops.kernels_ran() == {}


@needs_no_gpu
def test_triton_is_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(ConfigError, match="CUDA"), ops.use_kernels("triton"):
        pass


def test_an_unknown_choice_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="auto, torch or triton"), ops.use_kernels("cuda"):
        pass


@needs_no_gpu
def test_every_operation_has_a_kernel_of_the_same_result(draw: Draw) -> None:
    owner = torch.arange(40) // 16
    query, key = draw(5, 2, 32), draw(5, 1, 32)
    calls: dict[str, tuple[Any, ...]] = {
        "rms_norm": (draw(3, 32), draw(32), 1e-6),
        "rms_norm_residual": (draw(3, 32), draw(3, 32), draw(32), 1e-6),
        "apply_rope": (query, key, draw(5, 32), draw(5, 32)),
        "swiglu": (draw(3, 32), draw(3, 32)),
        "unit_keys": (draw(2, 21, 32), 4),
        "block_scores": (draw(4, 3, 32), draw(2, 40, 32), owner, 3, 0.2),
        "decode_attention": (draw(4, 32), draw(2, 40, 32), draw(2, 40, 32), 0.2),
    }
    assert set(calls) == set(ops._KERNEL_FILES)
    for name, arguments in calls.items():
        copies = [x.clone() if isinstance(x, torch.Tensor) else x for x in arguments]
        wanted = getattr(reference, name)(*copies)
        with ops.use_kernels("triton"):
            found = getattr(ops, name)(*arguments)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert ops.kernels_ran() == dict.fromkeys(calls, "triton")


def test_a_kernel_that_fails_warns_once_and_runs_in_torch(draw: Draw) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("ptxas did not\nlike it")

    ops._state.kernels["unit_keys"] = broken
    ops._state.choice = "triton"
    keys = draw(1, 10, 8)
    with pytest.warns(RuntimeWarning, match="unit_keys failed .RuntimeError: ptxas did not like it"):
        first = ops.unit_keys(keys, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = ops.unit_keys(keys, 4)
    assert torch.equal(first, reference.unit_keys(keys, 4))
    assert torch.equal(first, second)
    assert ops.kernels_ran() == {"unit_keys": "torch"}
    assert not ops.runs_triton("unit_keys", keys.device)


def test_running_out_of_memory_is_not_taken_for_a_broken_kernel(draw: Draw) -> None:
    def hungry(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("no room")

    ops._state.kernels["unit_keys"] = hungry
    ops._state.choice = "triton"
    with pytest.raises(torch.cuda.OutOfMemoryError):
        ops.unit_keys(draw(1, 10, 8), 4)
    assert ops.runs_triton("unit_keys", torch.device("cpu"))


def test_the_choice_ends_with_its_block(draw: Draw) -> None:
    with pytest.raises(ZeroDivisionError), ops.use_kernels("torch"):
        raise ZeroDivisionError
    assert ops._state.choice == "auto"


def test_attention_without_a_gpu_is_torchs_own() -> None:
    cpu = torch.device("cpu")
    assert choose_attention(cpu, torch.bfloat16) == "sdpa"
    assert describe_attention("eager", cpu, torch.float32, 2, 1, 32) == "eager"
    assert describe_attention("sdpa", cpu, torch.float32, 2, 1, 32).startswith("sdpa/")


def test_fp32_never_goes_to_flash_attention() -> None:
    assert choose_attention(torch.device("cuda"), torch.float32) == "sdpa"
