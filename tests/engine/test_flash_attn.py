"""The flash-attn package where it is installed: a pruned run under it is the dense oracle's, up to bf16's rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache
from transformers.utils.import_utils import is_flash_attn_2_available

from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.engine.slim import slim
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_model, token_ids

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not (torch.cuda.is_available() and is_flash_attn_2_available()), reason="needs flash-attn and a CUDA device"
    ),
]
PRUNED = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=16)
SIZES: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "layers": 6}


def model(attention: str, dtype: torch.dtype, head_dim: int) -> Any:
    return tiny_model("llama", attention, dtype, head_dim=head_dim, **SIZES).to("cuda")


@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("tokens", [200, 1025])
def test_prefill_appending_and_decode_are_as_near_the_exact_model_as_sdpa(head_dim: int, tokens: int) -> None:
    """Full runs: no choice of blocks may differ between the types."""
    ids, more, last = token_ids(tokens).cuda(), token_ids(9, 1).cuda(), token_ids(1, 2).cuda()
    found = {}
    for name, attention, dtype in (
        ("exact", "sdpa", torch.float32),
        ("sdpa", "sdpa", torch.bfloat16),
        ("flash", "flash_attention_2", torch.bfloat16),
    ):
        built = model(attention, dtype, head_dim)
        with torch.no_grad(), slim(built, SlimConfig(method="full")):
            first = built(ids, use_cache=True)
            second = built(more, past_key_values=first.past_key_values, use_cache=True)
            third = built(last, past_key_values=first.past_key_values, use_cache=True)
        found[name] = torch.cat([each.logits.float() for each in (first, second, third)], 1)
    error = {name: float((found[name] - found["exact"]).norm() / found["exact"].norm()) for name in ("sdpa", "flash")}
    assert error["flash"] < 1.2 * error["sdpa"] + 1e-3


@pytest.mark.parametrize("head_dim", [64, 128])
def test_a_pruned_run_keeps_and_says_what_it_does_under_sdpa(head_dim: int) -> None:
    ids = token_ids(400).cuda()
    states, positions = {}, {}
    for attention in ("sdpa", "flash_attention_2"):
        built = model(attention, torch.bfloat16, head_dim)
        loop = LayerLoop(built, PRUNED)
        cache = DynamicCache()
        with torch.no_grad():
            states[attention] = exhaust(loop.run(loop.decoder.embed_tokens(ids), cache, "last"))[0, -1].float()
        positions[attention] = loop.kept_positions(cache)
    shared = [
        len(set(a.tolist()) & set(b.tolist())) / len(a)
        for a, b in zip(positions["sdpa"], positions["flash_attention_2"], strict=True)
    ]
    assert shared[2] > 0.9  # the first step: two kernels round bf16 differently, and near ties go either way
    assert min(shared) > 0.8  # the second, where the states differ as well
    near = torch.nn.functional.cosine_similarity(states["sdpa"], states["flash_attention_2"], dim=0)
    assert near > 0.9
