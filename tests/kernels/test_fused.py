"""Fused layer steps against the stock layers they stand in for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from sliminfer.engine.slim import slim
from sliminfer.model.fused import FusedLayer, is_known
from sliminfer.ops.workspace import Workspace
from sliminfer.schedule.config import SlimConfig
from tests.kernels.fusing import fuse_layer_ops

SIZES = {
    "vocab_size": 64, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 1024, "pad_token_id": 0,
}  # fmt: skip
FAMILIES = {
    "llama": (LlamaConfig, {}),
    "llama_biases": (LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {"head_dim": 32}),
    "mistral": (MistralConfig, {"sliding_window": 40}),
    "phi3": (Phi3Config, {}),
    "phi3_partial": (Phi3Config, {"partial_rotary_factor": 0.5}),
}


def build(family: str, dtype: torch.dtype, **changes: Any) -> Any:
    config, extra = FAMILIES[family]
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config(**{**SIZES, **extra, **changes}), dtype=dtype).eval()


def prefill_and_step(model: Any, tokens: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, 64, (1, tokens), generator=torch.Generator().manual_seed(tokens))
    first = model(ids)
    then = model(ids[:, :1], past_key_values=first.past_key_values)
    return first.logits, then.logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_torch_steps_have_the_stock_bits(family: str, dtype: torch.dtype, attention: str) -> None:
    model = build(family, dtype, attn_implementation=attention)
    for tokens in (1, 7, 300):
        stock = prefill_and_step(model, tokens)
        with fuse_layer_ops(model) as fused:
            ours = prefill_and_step(model, tokens)
        assert fused == 2
        assert torch.equal(ours[0], stock[0])
        assert torch.equal(ours[1], stock[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_appended_together_have_the_stock_bits(family: str, dtype: torch.dtype) -> None:
    model = build(family, dtype, attn_implementation="sdpa")
    ids = torch.randint(0, 64, (1, 340), generator=torch.Generator().manual_seed(5))
    logits = []
    for _ in range(2):
        with fuse_layer_ops(model) if logits else nullcontext():
            held = model(ids[:, :300]).past_key_values
            logits.append(model(ids[:, 300:], past_key_values=held).logits)
    assert torch.equal(*logits)


def test_slices_of_the_mlp_change_rounding_only() -> None:
    model = build("llama", torch.float32)
    stock = prefill_and_step(model, 301)
    with fuse_layer_ops(model, mlp_slice=64):
        sliced = prefill_and_step(model, 301)
    torch.testing.assert_close(sliced[0], stock[0], rtol=1e-5, atol=1e-5)


def test_the_layers_are_never_touched() -> None:
    model = build("qwen2", torch.float32)
    with slim(model, SlimConfig()):
        prefill_and_step(model, 7)
        assert all("forward" not in vars(layer) for layer in model.model.layers)


def test_the_input_of_a_layer_is_left_alone() -> None:
    model = build("llama", torch.float32)
    hidden = torch.randn(1, 200, 96)
    before = hidden.clone()
    rotary = model.model.rotary_emb(hidden, torch.arange(200)[None])
    FusedLayer(model.model.layers[0], Workspace(), None, 1)(hidden, None, rotary, None)
    assert torch.equal(hidden, before)


def test_gradients_flow_as_in_the_stock_model() -> None:
    with torch.inference_mode(False):
        model = build("llama", torch.float32)
        with fuse_layer_ops(model):
            model(torch.tensor([[1, 2, 3]])).logits.sum().backward()
        assert model.model.layers[0].mlp.gate_proj.weight.grad.abs().sum() > 0


def test_a_hook_inside_a_layer_still_fires() -> None:
    model = build("llama", torch.float32)
    seen: list[tuple[int, ...]] = []
    handle = model.model.layers[1].mlp.register_forward_hook(lambda *given: seen.append(given[2].shape))
    with fuse_layer_ops(model):
        prefill_and_step(model, 5)
    handle.remove()
    assert seen == [(1, 5, 96), (1, 1, 96)]


def test_buffers_serve_inside_and_outside_inference_mode() -> None:
    model = build("llama", torch.float32)
    with fuse_layer_ops(model):
        inside = prefill_and_step(model, 300)
        with torch.inference_mode(False), torch.no_grad():
            outside = prefill_and_step(model, 300)
    assert torch.equal(inside[0], outside[0])


def test_layers_of_another_form_keep_their_own_forward() -> None:
    gemma = AutoModelForCausalLM.from_config(GemmaConfig(**SIZES, head_dim=16))
    assert not any(map(is_known, gemma.model.layers))
    relu = build("llama", torch.float32, hidden_act="relu")
    assert not any(map(is_known, relu.model.layers))
    changed = build("llama", torch.float32)
    changed.model.layers[0].input_layernorm = nn.RMSNorm(96)
    changed.model.layers[1].mlp.forward = changed.model.layers[1].mlp.forward
    with fuse_layer_ops(changed) as fused:
        assert fused == 0
        prefill_and_step(changed, 5)


def test_quantised_or_wrapped_matrices_are_called_as_modules() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = build("llama", torch.float32)
    for layer in model.model.layers:
        wrapped = Doubled(96, 160, bias=False)
        wrapped.load_state_dict(layer.mlp.gate_proj.state_dict())
        layer.mlp.gate_proj = wrapped
    stock = prefill_and_step(model, 200)
    with fuse_layer_ops(model):
        ours = prefill_and_step(model, 200)
    assert torch.equal(ours[0], stock[0])
