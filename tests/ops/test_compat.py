"""Torch and transformers still have, and still mean, what the engine takes from them unpromised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sliminfer.ops.compat import (
    attention_backend,
    causal_backend,
    forward_hooks,
    has_amx,
    has_avx512_bf16,
    undivided_modules,
)
from tests.tiny import tiny_model

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.is_file() or "flags\t" not in CPUINFO.read_text(), reason="needs Linux on x86")
def test_the_processors_instructions_are_those_that_the_system_names() -> None:
    flags = set(next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags\t")).split())
    assert has_amx() == ("amx_tile" in flags)
    assert has_avx512_bf16() == ("avx512_bf16" in flags)


def test_hooks_show_while_they_wait_and_in_tables_that_stay_the_same() -> None:
    module = nn.Linear(2, 2)
    tables = forward_hooks(module)
    for register in (
        module.register_forward_hook,
        module.register_forward_pre_hook,
        module.register_full_backward_hook,
        module.register_full_backward_pre_hook,
    ):
        assert not any(tables)
        handle = register(lambda *_: None)
        assert any(tables)
        handle.remove()
    assert not any(tables)
    assert all(now is before for now, before in zip(forward_hooks(module), tables, strict=True))


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_torch_tells_which_attention_it_would_run(kv_heads: int) -> None:
    query, keys = torch.zeros(1, 4, 128, 64), torch.zeros(1, kv_heads, 128, 64)
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(backend):
            assert causal_backend(query, keys) == backend


@pytest.mark.parametrize("name", ["eager", "sdpa"])
def test_a_config_tells_the_attention_that_was_set(name: str) -> None:
    model = tiny_model()
    model.set_attn_implementation(name)
    assert attention_backend(model.config) == name
    assert attention_backend(model.get_decoder().layers[0].self_attn.config) == name


def test_a_model_tells_what_must_lie_on_one_device() -> None:
    model = tiny_model()
    assert undivided_modules(model) == [type(model.get_decoder().layers[0]).__name__]
