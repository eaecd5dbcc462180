"""What the answer attends to, against attention written out by transformers, and the overlap by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sliminfer.diffusion.answer import answer_attention, answer_overlap, kept_by_layer
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import BlocksPruned
from sliminfer.errors import ConfigError
from sliminfer.model.prompts import Prompt
from tests.tiny import tiny_loaded, token_ids


def test_attention_of_the_answer_is_that_of_the_stock_model() -> None:
    loaded = tiny_loaded("qwen3", attention="eager")
    prompt, answer = Prompt.of_ids(token_ids(50)[0].tolist(), 6), token_ids(4, seed=3)[0].tolist()
    found = list(answer_attention(SlimEngine(loaded), prompt, answer))
    ids = torch.tensor([[*prompt.ids, *answer[:-1]]])
    with torch.inference_mode():
        stock = loaded.model(ids, output_attentions=True).attentions
    for ours, theirs in zip(found, stock, strict=True):
        wanted = theirs[0, :, -len(answer) :, : len(prompt)].mean((0, 1))
        torch.testing.assert_close(torch.from_numpy(ours).float(), wanted, atol=1e-6, rtol=1e-4)


def test_an_empty_answer_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one token"):
        next(answer_attention(SlimEngine(tiny_loaded()), Prompt.of_ids([3, 4, 5], 1), []))


def test_overlap_counts_the_best_tokens_and_the_mass_without_what_is_forced() -> None:
    attended = [np.array([9.0, 4.0, 3.0, 2.0, 1.0, 0.0])] * 4
    kept = [np.arange(6), np.array([0, 1, 3]), np.array([0, 4, 5]), np.array([0])]
    found = answer_overlap(attended, kept, forced=(0,))
    np.testing.assert_allclose(found.top, [np.nan, 0.5, 0.0, np.nan])
    np.testing.assert_allclose(found.mass, [np.nan, 0.6, 0.1, np.nan])
    assert found.to_dict()["top"] == [None, 0.5, 0.0, None]
    with pytest.raises(ConfigError, match="give each one"):
        answer_overlap(attended, kept[:2])


def test_tokens_of_each_layer_follow_the_prune_events() -> None:
    kept = np.array([0, 3], dtype=np.int32)
    event = BlocksPruned("pruned", 0.0, 2, 4, kept, 1, None, np.nan, ())
    assert [positions.tolist() for positions in kept_by_layer([event], 4, 4)] == [[0, 1, 2, 3]] * 2 + [[0, 3]] * 2
