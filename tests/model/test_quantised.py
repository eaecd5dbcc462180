"""Quantised weights: modules that compute as only they know are called, never read, and pruning stays exact.

bitsandbytes is the real thing, on a CPU. GPTQ, AWQ, fp8 and torchao, which need a GPU or a package that is not among
the tests', are stand-ins with the attributes of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.errors import ModelError
from sliminfer.model.known import KNOWN
from sliminfer.model.loading import load_model
from sliminfer.model.quantised import bytes_of_weights, quantising
from sliminfer.ops.linear import is_plain
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.tiny import tiny_model, tiny_tokenizer, token_ids

CONFIG = SlimConfig(steps=(PruneStep(3, 0.5),), query_window=4, local=8)


class PackedBuffers(nn.Module):
    """As GPTQ and AWQ: packed integers and scales as buffers, and no weight."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scales = linear.weight.detach().abs().amax(1, keepdim=True) / 7
        whole = (linear.weight.detach() / scales).round().clamp(-8, 7).to(torch.int8) + 8
        self.register_buffer("qweight", whole[:, ::2] | (whole[:, 1::2] << 4))
        self.register_buffer("scales", scales.half())

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.qweight & 15, (self.qweight >> 4) & 15
        whole = torch.stack([low, high], -1).flatten(1) - 8
        return F.linear(x, whole.to(x.dtype) * self.scales.to(x.dtype))


class Float8(nn.Linear):
    """As transformers' FP8Linear: a linear layer by inheritance, whose weight is fp8 beside a scale."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False)
        scale = linear.weight.detach().abs().max() / 448
        fp8 = (linear.weight.detach() / scale).to(torch.float8_e4m3fn)
        self.weight = nn.Parameter(fp8, requires_grad=False)
        self.weight_scale_inv = nn.Parameter(scale.reshape(1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype) * self.weight_scale_inv.to(x.dtype))


class Wrapped(Tensor):
    """As torchao's: a tensor of another type, in a stock linear layer, that knows nothing but whole products."""

    plain: Tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            return F.linear(args[0], args[1].plain, *args[2:])
        if func in (torch.mm, torch.mv, torch.addmm, torch.addmv, Tensor.__getitem__, Tensor.t):
            raise AssertionError(f"{func} reads a quantised weight")
        return super().__torch_function__(func, types, args, kwargs or {})


def in_stock_linear(linear: nn.Linear) -> nn.Linear:
    """A stock linear layer around a `Wrapped` weight."""
    made: Any = nn.Linear(linear.in_features, linear.out_features, bias=False)
    made.weight = nn.Parameter(linear.weight.detach().as_subclass(Wrapped), requires_grad=False)
    made.weight.plain = linear.weight.detach()
    return made  # type: ignore[no-any-return]


def quantised(family: str, kind: Callable[[nn.Linear], nn.Module]) -> Any:
    """A tiny model whose projections and MLPs are of `kind`."""
    model = tiny_model(family)
    for layer in model.get_decoder().layers:
        for block in (layer.self_attn, layer.mlp):
            for name, linear in list(block.named_children()):
                if type(linear) is nn.Linear and linear.bias is None:
                    setattr(block, name, kind(linear))
    return model


def check_exact(model: Any, atol: float) -> None:
    """A pruned prefill of `model` and a token more equal the dense oracle."""
    ids, cache = token_ids(90), DynamicCache()
    with torch.inference_mode(), slim(model, CONFIG) as loop:
        found = [model(ids[:, :-1], past_key_values=cache, logits_to_keep=1).logits[0, -1]]
        kept = loop.kept_positions(cache)
        found.append(model(ids[:, -1:], past_key_values=cache).logits[0, -1])
        assert loop.stack.fused[0] is not None
    assert len(kept[4]) < 80
    expected = dense_logits(model, ids, kept, 89)[-2:]
    torch.testing.assert_close(torch.stack(found).float(), expected.float(), atol=atol, rtol=atol)


@pytest.mark.parametrize("kind", [PackedBuffers, Float8, in_stock_linear])
@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_foreign_weights_are_called_and_pruned_exactly(family: str, kind: Callable[[nn.Linear], nn.Module]) -> None:
    model = quantised(family, kind)
    foreign = model.get_decoder().layers[0].mlp.down_proj
    assert not is_plain(foreign)
    check_exact(model, 1e-4)


def test_packed_integers_in_buffers_count_as_weights() -> None:
    plain, packed = tiny_model("llama"), quantised("llama", PackedBuffers)
    matrices = sum(p.numel() for layer in plain.model.layers for p in layer.parameters() if p.dim() > 1)
    saved = bytes_of_weights(plain) - bytes_of_weights(packed)
    assert 3.3 * matrices < saved < 3.5 * matrices  # from four bytes to half a one, and a scale a row


@pytest.mark.parametrize(("kind", "atol"), [("int8", 0.05), ("nf4", 1e-4)])
def test_bitsandbytes_for_real(kind: str, atol: float, tmp_path: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    tiny_model("llama", hidden_size=64, intermediate_size=128).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    plain = load_model(str(tmp_path), device="cpu", dtype="float32")
    loaded = load_model(str(tmp_path), device="cpu", dtype="float32", quantize=kind)
    expected = {"int8": bitsandbytes.nn.Linear8bitLt, "nf4": bitsandbytes.nn.Linear4bit}[kind]
    assert type(loaded.model.model.layers[0].mlp.up_proj) is expected
    assert loaded.quantised == "bitsandbytes"
    assert loaded.weights_bytes < 0.7 * plain.weights_bytes
    for module in loaded.model.modules():
        if kind == "int8" and type(module) is expected:
            module.state.threshold = 0.0  # columns with outliers in any row take another way: rows are not independent
    check_exact(loaded.model, atol)


def test_what_cannot_be_quantised_is_said() -> None:
    with pytest.raises(ModelError, match="choose one of none, int8, nf4"):
        quantising("int3", torch.bfloat16)


def test_an_8b_fits_8_and_24_gb_cards_by_its_bits() -> None:
    def total(name: str, tokens: int) -> float:
        return KNOWN[name].memory(tokens, 2).total / 1e9

    assert total("Qwen/Qwen3-8B-AWQ", 4096) < 8 < total("Qwen/Qwen3-8B", 4096)
    assert total("Qwen/Qwen3-8B-FP8", 32768) < 24 < total("Qwen/Qwen3-8B", 32768) + 1
    assert 6.0 < KNOWN["Qwen/Qwen3-8B-AWQ"].memory(1, 2).weights / 1e9 < 6.2  # as its files are
