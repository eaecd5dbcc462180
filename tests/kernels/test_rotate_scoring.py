"""What a prune step scores with, rotated in one launch and scored by two layers in two: the plain results."""

from __future__ import annotations

import pytest
import torch

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.kernels import block_scores, rotate_scoring
from sliminfer.model.loading import wrap_model
from sliminfer.ops import dispatch as ops
from sliminfer.ops import reference
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.kernels.checks import BOUNDS, Draw, error
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize(
    ("tokens", "asking", "heads", "kv_heads", "dim", "turned"),
    [(23, 4, 4, 2, 16, 16), (9, 9, 14, 2, 64, 64), (5, 1, 3, 3, 24, 12), (40, 7, 32, 8, 128, 128)],
)
def test_two_layers_queries_and_one_layers_keys_are_rotated(
    tokens: int, asking: int, heads: int, kv_heads: int, dim: int, turned: int, dtype: torch.dtype, device: torch.device
) -> None:
    draw = Draw(71, dtype, device)
    key, own, before = draw(tokens, kv_heads, dim), draw(asking, heads, dim), draw(asking, heads, dim)
    tables = draw(tokens, turned), draw(tokens, turned), draw(asking, turned), draw(asking, turned)
    found = [each.clone() for each in (key, own, before)]
    rotate_scoring.rotate_scoring(found[0], *tables[:2], *found[1:], *tables[2:])
    reference.rotate_scoring(key, *tables[:2], own, before, *tables[2:])
    for ours, plain in zip(found, (key, own, before), strict=True):
        assert error(ours, plain) < BOUNDS[dtype]


@pytest.mark.parametrize("aggregate", ["max", "mean"])
@pytest.mark.parametrize("unit", [1, 4])
@pytest.mark.parametrize("layers", [1, 2])
def test_two_layers_are_scored_as_each_by_itself(
    layers: int, unit: int, aggregate: str, dtype: torch.dtype, device: torch.device
) -> None:
    draw, size, blocks = Draw(72, dtype, device), 8, 30
    alive = torch.tensor([p for block in (0, 3, 4, 11, 17, 29) for p in range(block * size, block * size + size)])
    alive = alive[:-3].to(device)  # the prompt's last block is partial
    units = -(-len(alive) // unit)
    read = []
    for each in range(layers):
        # As a cache and as a projection lay them out.
        keys = draw(2, 90, 16)[:, :units] if each else draw(units, 2, 16).transpose(0, 1)
        read.append((draw(5, 6, 16).transpose(0, 1), keys))
    arguments = (alive, read, blocks, size, 0.3, aggregate, unit)
    found, wanted = block_scores.layer_scores(*arguments), reference.layer_scores(*arguments)
    assert found.shape == (layers, blocks)
    assert error(found, wanted) < BOUNDS[dtype]
    assert torch.equal(found == 0, wanted == 0)


def test_layers_of_different_forms_are_refused(device: torch.device) -> None:
    draw = Draw(73, torch.float32, device)
    read = [(draw(4, 2, 8), draw(2, 16, 8)), (draw(2, 2, 8), draw(2, 16, 8))]
    with pytest.raises(ValueError, match="one form"):
        block_scores.layer_scores(torch.arange(16, device=device), read, 2, 8, 1.0, "max")


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3", "gemma2"])
def test_an_engine_keeps_the_same_tokens_with_and_without_the_kernels(family: str, device: torch.device) -> None:
    config = SlimConfig(steps=(PruneStep(2, 0.6), PruneStep(4, 0.3)), block_size=8, local=10, query_window=5)
    loaded = wrap_model("tiny", tiny_model(family).to(device), tiny_tokenizer(), device, "sdpa")
    kept = []
    for kernels in ("torch", "triton"):
        with ops.use_kernels(kernels):
            result = RunResult.of(SlimEngine(loaded).compare(RunRequest("One two three. " * 30, "Two?", config, 1)))
        kept.append([step.kept.tolist() for step in result.pruned.pruned])
    assert kept[0] == kept[1]
