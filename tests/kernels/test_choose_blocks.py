"""A prune step's choice in one launch, and the rows that go on: what plain torch makes of the same scores."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from sliminfer.cache import SlimCache
from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.engine.prefill import Prefill
from sliminfer.kernels import choose_blocks as kernel
from sliminfer.kernels import take_rows
from sliminfer.ops import dispatch as ops
from sliminfer.ops import reference
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.kernels.checks import Draw
from tests.tiny import tiny_model, token_ids

# What a step asks of a projection: the norm, the product, and the rotation; qwen3 norms each head as well.
PROJECTING = {"aten::linear", "aten::addmm", "aten::mm", "triton::rms_norm_kernel", "triton::rope_kernel"}
PROJECTIONS = 12
interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="counts what the interpreter launches")


@pytest.mark.parametrize(("blocks", "alive", "budget", "missing"), [(40, 40, 11, 0), (40, 23, 9, 5), (7, 7, 6, 3)])
@pytest.mark.parametrize("rates", [(1.0, 0.7, 0.3), (0.0, 0.0, 0.0), (0.5, 0.9, 0.0)])
@pytest.mark.parametrize("levels", [0, 3])
def test_the_choice_is_the_plain_ones(
    blocks: int, alive: int, budget: int, missing: int, rates: tuple[float, ...], levels: int, device: torch.device
) -> None:
    draw = Draw(51, torch.float32, device)
    order = torch.randperm(blocks - 1, generator=draw.generator)[: alive - 1]
    ids = torch.cat([order.sort().values, torch.tensor([blocks - 1])]).to(device)
    gone = torch.ones(blocks, dtype=torch.bool, device=device).index_fill_(0, ids, False)
    scores = [draw(blocks).abs() for _ in range(3)]
    if levels:  # many ties
        scores = [(each * levels).round() / levels for each in scores]
    first, second, best = (each.masked_fill(gone, 0.0) for each in scores)
    marks = torch.zeros(blocks, dtype=torch.int32, device=device)
    marks[ids[1]], marks[ids[0]], marks[-1] = reference.LAST, reference.FORCED, reference.FORCED
    arguments = (first, second, best, ids, marks, budget, 8, blocks * 8 - missing, *rates)
    found, wanted = kernel.choose_blocks(*arguments), reference.choose_blocks(*arguments)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])
    torch.testing.assert_close(found[2], wanted[2], equal_nan=True)
    torch.testing.assert_close(found[3][ids], wanted[3][ids])
    torch.testing.assert_close(found[4], wanted[4])


@pytest.mark.parametrize("columns", [32, 896, 4096])
def test_rows_are_taken(columns: int, dtype: torch.dtype, device: torch.device) -> None:
    draw = Draw(52, dtype, device)
    hidden, cos, sin = draw(1, 9, columns), draw(1, 9, 24), draw(1, 9, 24)
    index = torch.tensor([0, 3, 4, 8], device=device)
    for found, wanted in zip(
        take_rows.take_rows(hidden, cos, sin, index), reference.take_rows(hidden, cos, sin, index), strict=True
    ):
        assert torch.equal(found, wanted)


class Launches(TorchDispatchMode):
    """Counts what would be launched on a GPU: operators that are no views and do more than allocate, and kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func._schema.name
        if not func.is_view and name not in {"aten::empty", "aten::empty_like", "aten::detach", "aten::_unsafe_view"}:
            self.ran.append(name)
        return func(*args, **(kwargs or {}))


@interpreted
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_prune_step_is_few_launches(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = importlib.import_module("triton.runtime.interpreter")
    config = SlimConfig(steps=(PruneStep(2, 0.6), PruneStep(4, 0.3)), block_size=8, local=10, query_window=2)
    model, counted = tiny_model(family), Launches()
    run = interpreter.GridExecutor.__call__

    def launched(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        counted.ran.append(f"triton::{self.fn.__name__}")
        with _disable_current_modes():
            return run(self, *args, **kwargs)

    monkeypatch.setattr(interpreter.GridExecutor, "__call__", launched)
    loop = LayerLoop(model, config)
    cache = SlimCache(config, 6, BlockMap.of(80, config), reserve=8)
    steps: list[list[str]] = []
    prune = Prefill._prune

    def noted(self, index):  # type: ignore[no-untyped-def]
        counted.ran.clear()
        with ops.use_kernels("triton"), counted:
            found = prune(self, index)
        steps.append(list(counted.ran))
        return found

    monkeypatch.setattr(Prefill, "_prune", noted)
    exhaust(loop.run(loop.decoder.embed_tokens(token_ids(80)), cache, "last"))
    assert len(steps) == 2
    for ran in steps:
        # Three projections, each of normed and rotated states: keys of one layer, queries of both.
        projecting = sum(name in PROJECTING for name in ran)
        assert projecting <= PROJECTIONS
        assert len(ran) - projecting <= 10, ran
    plain = SlimCache(config, 6, BlockMap.of(80, config), reserve=8)
    monkeypatch.setattr(Prefill, "_prune", prune)
    exhaust(loop.run(loop.decoder.embed_tokens(token_ids(80)), plain, "last"))
    for found, wanted in zip(loop.kept_positions(cache), loop.kept_positions(plain), strict=True):
        assert torch.equal(found, wanted)


def test_a_step_before_layer_0_chooses_by_the_drafts_scores_alone(device: torch.device) -> None:
    steps = (PruneStep(0, 0.6), PruneStep(3, 0.3))
    config = SlimConfig(steps, "sliminfer-draft", block_size=8, local=10, query_window=2)
    model, scores = tiny_model().to(device), torch.rand(80, generator=torch.Generator().manual_seed(1)).to(device)
    kept: list[list[list[int]]] = []
    for kernels in ("torch", "triton"):
        loop = LayerLoop(model, config, outside=scores)
        cache = SlimCache(config, 6, BlockMap.of(80, config), reserve=8)
        with ops.use_kernels(kernels), torch.inference_mode():
            exhaust(loop.run(loop.decoder.embed_tokens(token_ids(80).to(device)), cache, "last"))
        kept.append([positions.tolist() for positions in loop.kept_positions(cache)])
    assert kept[0] == kept[1]
    assert len(kept[0][0]) == 48
