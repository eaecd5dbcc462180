"""A cache that a document was read into: copied or cropped, it answers every question as an empty one does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.cache_utils import DynamicCache

from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.slim import slim
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_model, token_ids

READ, NEW = 90, 5
CONFIG = SlimConfig((PruneStep(2, 0.4), PruneStep(4, 0.2)), local=8)
GREEDY: dict[str, Any] = {
    "max_new_tokens": NEW, "do_sample": False, "eos_token_id": None,
    "output_logits": True, "return_dict_in_generate": True,
}  # fmt: skip


def prompt_of(seed: int, tokens: int, read: int = READ) -> torch.Tensor:
    return torch.cat([token_ids(READ)[:, :read], token_ids(tokens, seed + 1)], 1)


def generate(model: Any, ids: torch.Tensor, config: SlimConfig, cache: DynamicCache | None, read: int = READ) -> Any:
    with torch.inference_mode(), slim(model, config, question=(read, ids.shape[1])):
        cache = DynamicCache() if cache is None else cache
        return model.generate(ids, past_key_values=cache, attention_mask=torch.ones_like(ids), **GREEDY)


def assert_alike(one: Any, other: Any) -> None:
    assert torch.equal(one.sequences, other.sequences)
    for mine, theirs in zip(one.logits, other.logits, strict=True):
        torch.testing.assert_close(mine, theirs, atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, SlimConfig()], ids=["pruned", "unpruned"])
@settings(max_examples=8, deadline=None)
@given(turns=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40), st.booleans()), min_size=1, max_size=3))
def test_copies_and_crops_answer_as_an_empty_cache(config: SlimConfig, turns: list[tuple[int, int, bool]]) -> None:
    model = tiny_model()
    cache = LayerLoop(model, config).read_once(token_ids(READ))
    for seed, tokens, copies in turns:
        ids = prompt_of(seed, tokens)
        own = copy.deepcopy(cache) if copies else cache
        found = generate(model, ids, config, own)
        assert_alike(found, generate(model, ids, config, None))
        if not copies:
            cache.crop(READ - cache.get_seq_length())
        assert cache.get_seq_length() == READ


def test_a_cache_cropped_into_its_document_asks_of_what_is_left() -> None:
    model, short = tiny_model(), 60
    cache = LayerLoop(model, CONFIG).read_once(token_ids(READ))
    generate(model, prompt_of(1, 12), CONFIG, cache)
    cache.crop(short - cache.get_seq_length())
    ids = prompt_of(2, 40, short)
    assert_alike(generate(model, ids, CONFIG, cache, short), generate(model, ids, CONFIG, None, short))


def test_copies_share_what_was_read() -> None:
    cache = LayerLoop(tiny_model(), CONFIG).read_once(token_ids(READ))
    twin = copy.deepcopy(cache)
    assert vars(twin)["slim_sequence"].reading is vars(cache)["slim_sequence"].reading
