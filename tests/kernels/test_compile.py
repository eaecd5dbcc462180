"""Every kernel compiles for the GPUs we name, within their shared memory, without register spills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

CAPABILITIES = (80, 89, 90)
# Bytes of shared memory that one program may use: A100, L4 and RTX 40, H100 and H200.
SHARED_LIMIT = {80: 166_912, 89: 101_376, 90: 232_448}
USES_MATRIX_UNITS = ("block_mass", "block_score", "decode_split", "sparse", "row_split")
SCRIPT = Path(__file__).with_name("compile_kernels.py")


@cache
def compiled(capability: int) -> list[dict[str, Any]]:
    """What the compile script found, in a process that does not interpret Triton."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(capability)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(params=CAPABILITIES, ids=[f"sm_{capability}" for capability in CAPABILITIES])
def capability(request: pytest.FixtureRequest) -> int:
    return request.param


def test_every_kernel_is_compiled(capability: int) -> None:
    names = {kernel["kernel"] for kernel in compiled(capability)}
    assert names == {
        "rms_norm", "rope", "swiglu", "unit_keys", "block_mass", "block_score", "decode_split", "decode_merge",
        "sparse",
        "row_append", "row_split", "row_merge", "choose_blocks", "take_rows", "load_blocks",
    }  # fmt: skip


def test_shared_memory_fits(capability: int) -> None:
    over = [kernel for kernel in compiled(capability) if kernel["shared"] > SHARED_LIMIT[capability]]
    assert not over


def test_nothing_spills(capability: int) -> None:
    spilling = [kernel for kernel in compiled(capability) if kernel["spilled"] or kernel["stack"]]
    assert not spilling


def test_products_run_on_matrix_units(capability: int) -> None:
    """Half-precision products use them; wide windows use Hopper's own; fp32 stays exact."""
    for kernel in compiled(capability):
        if kernel["kernel"] not in USES_MATRIX_UNITS or kernel["case"].startswith("float32"):
            assert kernel["matrix"] == []
        elif capability == 90 and ("256 rows" in kernel["case"] or kernel["kernel"] == "sparse"):
            assert kernel["matrix"] == ["HGMMA"]
        else:
            assert kernel["matrix"] == ["HMMA"]


def test_keys_at_an_address_from_memory_are_loaded_sixteen_bytes_at_once(capability: int) -> None:
    """The compiler knows nothing of such an address: without being told it would load two bytes at a time."""
    assert {kernel["widest"] for kernel in compiled(capability) if kernel["kernel"] == "row_split"} == {128}
