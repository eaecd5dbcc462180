"""Operations go where they are sent, and to torch where a kernel fails."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.runtime.errors import OutOfResources, PTXASError

from sliminfer.errors import ConfigError
from sliminfer.model.attention import choose_attention, describe_attention
from sliminfer.ops import dispatch as ops
from sliminfer.ops import reference
from tests.kernels.checks import Draw

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="states what happens without a GPU")


@pytest.fixture(autouse=True)
def fresh_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "_state", ops._State())
    ops.forget_kernels_ran()


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
    marks = torch.tensor([1, 0, 0, 0, 2, 0, 0, 0, 1]).int()
    store, angles = draw(2, 2, 48, 32), draw(2, 32)
    row = torch.tensor([store.data_ptr(), 48, 40, 0])
    calls: dict[str, tuple[Any, ...]] = {
        "rms_norm": (draw(3, 32), draw(32), 1e-6),
        "rms_norm_residual": (draw(3, 32), draw(3, 32), draw(32), 1e-6),
        "apply_rope": (query, key, draw(5, 32), draw(5, 32)),
        "swiglu": (draw(3, 32), draw(3, 32)),
        "unit_keys": (draw(2, 21, 32), 4),
        "block_scores": (draw(4, 3, 32), draw(2, 40, 32), owner, 3, 0.2, "max"),
        "decode_attention": (draw(4, 32), draw(2, 40, 32), draw(2, 40, 32), 0.2),
        "sparse_attention": (
            draw(4, 40, 32), draw(2, 40, 32), draw(2, 40, 32), torch.ones(2, 2, 2, dtype=torch.bool).tril(), 32, 0.2,
        ),
        "choose_blocks": (
            draw(9).abs(), draw(9).abs(), draw(9).abs(), torch.arange(9), marks, 5, 4, 34, 1.0, 0.7, 0.3,
        ),
        "take_rows": (draw(1, 6, 32), draw(1, 6, 8), draw(1, 6, 8), torch.tensor([1, 2, 5])),
        "load_blocks": (draw(2, 2, 48, 32), (draw(3, 2, 2, 8, 32), draw(2, 2, 2, 8, 32)), ((4, 1), (0, 5))),
        "append_rotated": (draw(4, 32), draw(2, 32), draw(2, 32), angles[0], angles[1], store, row),
        "attend_row": (draw(4, 32), store, row, 0.2),
    }  # fmt: skip
    assert set(calls) == set(ops._KERNEL_FILES)
    for name, arguments in calls.items():
        copies = [x.clone() if isinstance(x, torch.Tensor) else x for x in arguments]
        wanted = ops._REFERENCE[name](*copies)
        with ops.use_kernels("triton"):
            found = getattr(ops, name)(*arguments)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert ops.kernels_ran() == dict.fromkeys(calls, "triton")


def compiled_badly() -> None:
    raise PTXASError("ptxas did not\nlike it")


def fitted_badly() -> None:
    raise OutOfResources(300_000, 232_448, "shared memory")


def given_badly() -> None:
    raise ValueError("unit_keys needs a dense last dimension.")


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (compiled_badly, "PTXASError: PTXAS error: ptxas did not like it"),
        (fitted_badly, "OutOfResources: out of resource: shared memory"),
        (given_badly, "ValueError: unit_keys needs a dense"),
    ],
)
def test_a_kernel_that_cannot_run_warns_once_and_torch_takes_over(draw: Draw, fail: Any, told: str) -> None:
    ops._state.kernels["unit_keys"] = lambda *_: fail()
    keys = draw(1, 10, 8)
    with ops.use_kernels("triton"):
        with pytest.warns(RuntimeWarning, match=f"unit_keys cannot run on cpu .{told}"):
            first = ops.unit_keys(keys, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            second = ops.unit_keys(keys, 4)
        assert not ops.runs_triton("unit_keys", keys.device)
    assert torch.equal(first, reference.unit_keys(keys, 4))
    assert torch.equal(first, second)
    assert ops.kernels_ran() == {"unit_keys": "torch"}


def test_a_kernel_that_fails_after_it_wrote_is_not_followed_by_the_same_operation(draw: Draw) -> None:
    def half_done(query: torch.Tensor, key: torch.Tensor, *rest: Any) -> None:
        reference.apply_rope(query, key, *rest)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    ops._state.kernels["apply_rope"] = half_done
    query, key, cos, sin = draw(5, 2, 32), draw(5, 1, 32), draw(5, 32), draw(5, 32)
    once = reference.apply_rope(query.clone(), key.clone(), cos, sin)
    with ops.use_kernels("triton"):
        with pytest.raises(RuntimeError, match="illegal memory access"):
            ops.apply_rope(query, key, cos, sin)
        assert ops.runs_triton("apply_rope", query.device)
    assert torch.equal(query, once[0])
    assert torch.equal(key, once[1])


def test_running_out_of_memory_is_not_taken_for_a_broken_kernel(draw: Draw) -> None:
    def hungry(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("no room")

    ops._state.kernels["unit_keys"] = hungry
    with ops.use_kernels("triton"):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            ops.unit_keys(draw(1, 10, 8), 4)
        assert ops.runs_triton("unit_keys", torch.device("cpu"))


def test_the_choice_ends_with_its_block() -> None:
    cpu = torch.device("cpu")
    with ops.use_kernels("triton"):
        with ops.use_kernels("torch"):
            assert not ops.runs_triton("swiglu", cpu)
        assert ops.runs_triton("swiglu", cpu)
        with pytest.raises(ZeroDivisionError), ops.use_kernels("torch"):
            raise ZeroDivisionError
        assert ops.runs_triton("swiglu", cpu)
    assert not ops.runs_triton("swiglu", cpu)


def test_a_choice_is_its_threads_own_even_where_blocks_interleave(draw: Draw) -> None:
    entered, left = threading.Event(), threading.Event()
    cpu, seen = torch.device("cpu"), {}

    def other() -> None:
        with ops.use_kernels("torch"):
            entered.set()
            left.wait(10)
            seen["inside"] = ops.runs_triton("swiglu", cpu)
        seen["after"] = ops.runs_triton("swiglu", cpu)
        ops.swiglu(torch.ones(1, 2), torch.ones(1, 2))
        seen["ran"] = ops.kernels_ran()

    with ops.use_kernels("triton"):
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait(10)
        assert ops.runs_triton("swiglu", cpu)
        ops.swiglu(draw(2, 8), draw(2, 8))
    left.set()
    thread.join()
    assert seen == {"inside": False, "after": False, "ran": {"swiglu": "torch"}}
    assert ops.kernels_ran() == {"swiglu": "triton"}


class Devices:
    """Stands for the driver's current device, as a list of what it was made."""

    def __init__(self) -> None:
        self.current = [0]

    @contextmanager
    def device(self, index: int) -> Iterator[None]:
        self.current.append(index)
        yield
        self.current.pop()


@needs_no_gpu
def test_every_launch_happens_under_its_tensors_device(monkeypatch: pytest.MonkeyPatch) -> None:
    devices, launches = Devices(), []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: devices.current[-1])
    monkeypatch.setattr(torch.cuda, "device", devices.device)
    with FakeTensorMode():
        for op, (kernel, arguments) in EVERY_OPERATION.items():
            for index in (0, 1):
                place = torch.device("cuda", index)
                given = [torch.empty(a, device=place) if isinstance(a, tuple) else a for a in arguments]

                def launch(first: torch.Tensor, *_: Any, op: str = op) -> None:
                    launches.append((op, first.get_device(), devices.current[-1]))

                ops._state.kernels[op] = launch
                kernel(*given)
                assert devices.current == [0]
    assert launches == [(op, index, index) for op in EVERY_OPERATION for index in (0, 1)]
    assert set(EVERY_OPERATION) == set(ops._KERNEL_FILES)


@needs_no_gpu
def test_a_kernel_that_cannot_run_on_one_device_runs_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices()
    monkeypatch.setattr(torch.cuda, "current_device", lambda: devices.current[-1])
    monkeypatch.setattr(torch.cuda, "device", devices.device)

    def picky(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        if gate.get_device() == 1:
            compiled_badly()
        return gate

    ops._state.kernels["swiglu"] = picky
    with FakeTensorMode():
        for index in (1, 0):
            gate = torch.empty(2, 8, device=torch.device("cuda", index))
            with nullcontext() if index == 0 else pytest.warns(RuntimeWarning, match="on cuda:1"):
                ops.swiglu(gate, gate)
    assert ops.runs_triton("swiglu", torch.device("cuda", 0))
    assert not ops.runs_triton("swiglu", torch.device("cuda", 1))
    assert ops.kernels_ran() == {"swiglu": "torch+triton"}


EVERY_OPERATION: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rms_norm": (ops.rms_norm, ((3, 32), (32,), 1e-6)),
    "rms_norm_residual": (ops.rms_norm_residual, ((3, 32), (3, 32), (32,), 1e-6)),
    "apply_rope": (ops.apply_rope, ((5, 2, 32), (5, 1, 32), (5, 32), (5, 32))),
    "swiglu": (ops.swiglu, ((3, 32), (3, 32))),
    "unit_keys": (ops.unit_keys, ((2, 21, 32), 4)),
    "block_scores": (ops.block_scores, ((4, 3, 32), (2, 40, 32), (40,), 3, 0.2, "max")),
    "decode_attention": (ops.decode_attention, ((4, 32), (2, 40, 32), (2, 40, 32), 0.2)),
    "choose_blocks": (
        ops.choose_blocks, ((9,), (9,), (9,), (9,), (9,), 5, 4, 34, 1.0, 0.7, 0.3)
    ),
    "take_rows": (ops.take_rows, ((1, 6, 32), (1, 6, 8), (1, 6, 8), (3,))),
    "load_blocks": (ops.load_blocks, ((2, 2, 48, 32), [], [])),
    "sparse_attention": (ops.sparse_attention, ((4, 40, 32), (2, 40, 32), (2, 40, 32), (2, 2, 2), 32, 0.2)),
    "append_rotated": (ops.append_rotated, ((4, 32), (2, 32), (2, 32), (32,), (32,), (2, 2, 48, 32), (4,))),
    "attend_row": (ops.attend_row, ((4, 32), (2, 2, 48, 32), (4,), 0.2)),
}


def test_attention_without_a_gpu_is_torchs_own() -> None:
    cpu = torch.device("cpu")
    assert choose_attention(cpu, torch.bfloat16) == "sdpa"
    assert describe_attention("eager", cpu, torch.float32, 2, 1, 32) == "eager"
    assert describe_attention("sdpa", cpu, torch.float32, 2, 1, 32).startswith("sdpa/")


def test_fp32_never_goes_to_flash_attention() -> None:
    assert choose_attention(torch.device("cuda"), torch.float32) == "sdpa"
