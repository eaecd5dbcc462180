"""Every call pattern under `slim`: the stock model's result, the dense oracle's, or one clear sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.errors import SlimError
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense
from tests.engine.patterns import PATTERNS, Pattern, table
from tests.tiny import FAMILIES, tiny_model

PRUNED = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=10, query_window=4)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
patterns = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.call)


def kept_of(model: Any, prompt: Tensor, config: SlimConfig) -> list[Tensor]:
    """What a pruned prefill of `prompt` keeps in each layer."""
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, config) as loop:
        model(prompt, past_key_values=cache, logits_to_keep=1)
        return loop.kept_positions(cache)


def assert_same(found: list[Tensor], truth: list[Tensor]) -> None:
    assert len(found) == len(truth)
    for ours, theirs in zip(found, truth, strict=True):
        if ours.is_floating_point():
            torch.testing.assert_close(ours, theirs, atol=3e-5, rtol=1e-4)
        else:
            assert ours.tolist() == theirs.tolist()


@patterns
def test_where_nothing_is_pruned_it_is_the_stock_model(pattern: Pattern) -> None:
    model = tiny_model()
    if pattern.refused_unpruned:
        with torch.no_grad(), slim(model, SlimConfig()), pytest.raises(SlimError, match=pattern.refused_unpruned):
            pattern.run(model)
        return
    assert pattern.truth is not None
    with torch.no_grad(), slim(model, SlimConfig()):
        found = pattern.run(model)
    with torch.no_grad():
        assert_same(found, [pattern.truth(model, prompt) for prompt in pattern.prompts])


@patterns
def test_where_it_is_pruned_it_is_the_dense_oracle(pattern: Pattern) -> None:
    hold_to_the_oracle(tiny_model(), pattern)


# Those in which rows, positions and masks take another way than in a plain prefill.
DELICATE = [each for each in PATTERNS if any(word in each.call for word in ("`model(ids)`", "left", "crop", "lookup"))]
# One of each way in which a layer that runs by its own forward differs; tests/engine/test_families.py has the others.
DIFFERENT = (
    "gemma2",
    "gemma3_text",
    "gpt_oss",
    "olmo3",
    "cohere2",
    "exaone4",
    "minimax_m2",
    "ministral3",
    "smollm3",
    "llama4_text",
)
MODELS: dict[str, dict[str, Any]] = {name: {"family": name} for name in (*FAMILIES, *DIFFERENT)} | {
    "eager": {"attention": "eager"},
    "windows": {"family": "mistral", "sliding_window": 40},
    "windows, eager": {"family": "mistral", "sliding_window": 40, "attention": "eager"},
    "some windows": {"family": "qwen2", "sliding_window": 40, "use_sliding_window": True, "max_window_layers": 3},
}


@pytest.mark.parametrize("pattern", DELICATE, ids=lambda pattern: pattern.call)
@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_delicate_calls_are_the_dense_oracle_in_every_family(changes: dict[str, Any], pattern: Pattern) -> None:
    hold_to_the_oracle(tiny_model(**changes), pattern)


def hold_to_the_oracle(model: Any, pattern: Pattern) -> None:
    """What `pattern` gives of the pruned `model` is what the dense oracle says, or its refusal is one sentence."""
    if pattern.refused:
        with torch.no_grad(), slim(model, PRUNED), pytest.raises(SlimError, match=pattern.refused) as refusal:
            pattern.run(model)
        assert "\n" not in str(refusal.value)
        return
    assert pattern.truth is not None
    with torch.no_grad(), slim(model, PRUNED):
        found = pattern.run(model)
    truth = []
    for prompt in pattern.prompts:
        kept = kept_of(model, prompt, PRUNED)
        assert len(kept[4]) < len(kept[2]) < prompt.shape[1]
        with torch.no_grad(), dense(model, kept, prompt.shape[1]):
            truth.append(pattern.truth(model, prompt))
    assert_same(found, truth)


def test_the_table_in_the_docs_is_this_one() -> None:
    """Write it anew with WRITE_TABLE=1."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split("<!-- calls -->\n")
    written, after = rest.split("<!-- /calls -->\n")
    if os.environ.get("WRITE_TABLE"):
        PAGE.write_text(f"{before}<!-- calls -->\n{table()}<!-- /calls -->\n{after}", encoding="utf-8")
    else:
        assert written == table()
