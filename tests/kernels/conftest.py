"""Kernels run on the GPU where there is one; elsewhere Triton's interpreter runs them on the CPU."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator

import pytest
import torch

KERNEL_FILES = (
    "rms_norm_residual", "rope", "swiglu", "unit_keys", "block_scores", "decode_attention", "sparse_attention",
    "kept_attention", "choose_blocks", "take_rows", "load_blocks",
)  # fmt: skip

if importlib.util.find_spec("triton") is None:
    collect_ignore_glob = ["test_*.py"]  # Triton exists for Linux only
elif not torch.cuda.is_available():
    # Read when a kernel is decorated: set for these imports and for these tests, so that no other meets it.
    os.environ["TRITON_INTERPRET"] = "1"
    for name in KERNEL_FILES:
        importlib.import_module(f"sliminfer.kernels.{name}")
    del os.environ["TRITON_INTERPRET"]


@pytest.fixture(autouse=True)
def inference(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Interpreted where there is no GPU, and without gradients: the operations write over their inputs."""
    if not torch.cuda.is_available():
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    with torch.inference_mode():
        yield


@pytest.fixture(params=[torch.float32, torch.float16], ids=["fp32", "fp16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """The types that the interpreter computes right; it is wrong for bf16, which test_gpu.py covers."""
    return request.param


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
