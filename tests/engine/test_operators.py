"""What a layer asks of torch, counted: a change that adds a copy, a product or a pass over the prompt fails here.

Timings live in `make bench`; these numbers do not depend on the machine.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sliminfer.cache import SlimCache
from sliminfer.engine.slim import slim
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_model, token_ids

PROMPT = 200
PRUNED = SlimConfig(steps=(PruneStep(2, 0.5),), block_size=8, local=10, query_window=4)
# What a layer of an fp32 model asks for on a CPU: copies; operators beside its products; and what a prune step may add.
COPIED = 4
PASSES = 31
SELECTING = 137
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
COPIES = {"aten::copy_", "aten::clone", "aten::_to_copy", "aten::cat", "aten::index_select", "aten::repeat"}
ALLOCATIONS = {"aten::empty", "aten::empty_like", "aten::_unsafe_view", "aten::detach"}


class Operators(TorchDispatchMode):
    """Counts the operators that do work; views and allocations are none."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func._schema.name not in ALLOCATIONS:
            self.ran[func._schema.name] += 1
        return func(*args, **(kwargs or {}))

    def next_layer(self) -> tuple[int, int, int]:
        """Products, copies and all operators since the last call."""
        found = tuple(sum(self.ran[name] for name in group) for group in (PRODUCTS, COPIES, self.ran))
        self.ran.clear()
        return found  # type: ignore[return-value]


def per_layer(family: str, config: SlimConfig) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """(products, copies, operators) of each layer of a prefill, and of each layer of one decode step."""
    model = tiny_model(family)
    cache = SlimCache(config, 6, BlockMap.of(PROMPT, config), reserve=8)
    found: list[list[tuple[int, int, int]]] = []
    # Not inference mode, in which composite operators are seen whole and what they copy is not.
    with torch.no_grad(), slim(model, config) as loop, Operators() as operators:
        for ids in (token_ids(PROMPT), token_ids(1)):
            run = loop.run(loop.decoder.embed_tokens(ids), cache, "last")
            layers = []
            operators.next_layer()
            for tick in run:
                counted = operators.next_layer()
                if tick.layer:  # the first layer's count holds the rotary tables and the beginning of the call
                    layers.append(counted)
            found.append(layers)
            loop.place(cache)
    return found[0], found[1]


@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3"])
def test_a_layer_does_its_products_and_nothing_that_was_not_there(family: str) -> None:
    products = 4 if family == "phi3" else 7
    prefill, step = per_layer(family, SlimConfig())
    # Keys and values go to the cache, and each of two norms works on a copy; nothing else is copied.
    assert {layer[:2] for layer in prefill + step} == {(products, COPIED)}
    assert {layer[2] for layer in prefill[:-1]} == {products + PASSES}
    assert max(layer[2] for layer in step) <= products + PASSES


def test_pruning_adds_work_to_its_own_layer_only() -> None:
    full, full_step = per_layer("llama", SlimConfig())
    pruned, pruned_step = per_layer("llama", PRUNED)
    at = PRUNED.steps[0].layer - 1
    # Scoring projects the window's queries and multiplies them with the keys, all heads at once, by the layer just run
    # and by the prune layer, whose keys are projected too; the window's states are set aside one layer before.
    assert pruned[at][0] == full[at][0] + 5
    assert pruned[at][2] <= full[at][2] + SELECTING
    assert pruned[at - 1][2] == full[at - 1][2] + 1
    assert pruned[at + 1 :] == full[at + 1 :]
    assert pruned_step == full_step


class AttentionShapes(TorchDispatchMode):
    """The shapes of the queries that torch's attention is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "scaled_dot_product" in func._schema.name:
            self.queries.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("dtype", "rows"), [(torch.bfloat16, (2, 2)), (torch.float16, (2, 2)), (torch.float32, (4, 1))]
)
def test_a_decoded_token_reads_the_keys_of_a_group_once(dtype: torch.dtype, rows: tuple[int, int]) -> None:
    # Torch's kernel reads them once for every query head: ten times the time behind a long prompt. In fp32 it is left
    # as it is, for the stock model's bits.
    model = tiny_model().to(dtype)
    cache = SlimCache(PRUNED, 6, BlockMap.of(PROMPT, PRUNED), reserve=8)
    with torch.no_grad(), slim(model, PRUNED) as loop:
        list(loop.run(loop.decoder.embed_tokens(token_ids(PROMPT)), cache))
        loop.place(cache)
        with AttentionShapes() as seen:
            list(loop.run(loop.decoder.embed_tokens(token_ids(1)), cache))
    assert seen.queries == [(1, *rows, 8)] * 6
