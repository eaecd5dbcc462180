"""The top-level kernels/ folder never stands in for the Hub package of the same name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORWARD = """
import importlib.util
spec = importlib.util.find_spec("kernels")
print("hub" if spec is not None and spec.origin else "none")

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM
config = LlamaConfig(vocab_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                     num_attention_heads=2, num_key_value_heads=1)
with torch.inference_mode():
    assert LlamaForCausalLM(config)(torch.tensor([[1, 2, 3]])).logits.isfinite().all()

import sliminfer.kernels.swiglu
assert sliminfer.kernels.swiglu.__file__.endswith("/kernels/swiglu.py")
"""


def forward_from_the_root(*path: Path) -> str:
    """Which `kernels` is found from the repository root, once transformers and our kernels have worked."""
    script = f"import sys; sys.path[1:1] = {[str(folder) for folder in path]!r}\n" + FORWARD
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_no_package() -> None:
    assert not (ROOT / "kernels" / "__init__.py").exists()


@pytest.mark.parametrize("folder", [".", "benchmarks", "tests"])
def test_no_script_folder_holds_a_module_of_that_name(folder: str) -> None:
    """A script's own folder comes first on `sys.path`: a kernels.py beside it would be taken for the package."""
    assert not (ROOT / folder / "kernels.py").exists()


@pytest.mark.skipif(importlib.util.find_spec("kernels_data") is not None, reason="the Hub package is installed")
def test_transformers_works_without_the_hub_package() -> None:
    assert forward_from_the_root() == "none"


def test_transformers_works_with_the_hub_package(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    packages = ["kernels>=0.16,<0.19", "kernels-data", "tomlkit"]
    done = subprocess.run([*install, *packages], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("the package index is out of reach")
    assert forward_from_the_root(tmp_path) == "hub"
