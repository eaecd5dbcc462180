"""Decoders that no file describes: a self-test on a tiny copy tells how they run, or why they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig
from transformers.cache_utils import DynamicCache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished
from sliminfer.engine.request import PromptRequest, Pruning, Sampling
from sliminfer.engine.slim import slim
from sliminfer.errors import ModelError
from sliminfer.model.families import FAMILIES
from sliminfer.model.loading import load_model
from sliminfer.model.prompts import Prompt
from sliminfer.model.recognise import family_of, shape_of
from sliminfer.model.unknown import self_test
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.tiny import FAMILIES as FUSED
from tests.tiny import PLAIN, tiny_model, tiny_tokenizer, token_ids

CONFIG = SlimConfig(steps=(PruneStep(4, 0.5),), query_window=4, local=8)
# Real types of transformers that are on no list here: plain ones, one with windows and angles of its own.
PASSES = ("olmo", "phi", "jais2", "afmoe", "mellum")


@pytest.mark.parametrize("family", PASSES)
def test_what_passes_prunes_exactly(family: str) -> None:
    model, ids, cache = tiny_model(family), token_ids(80), DynamicCache()
    assert family not in FAMILIES
    assert family_of(model.config).tested
    with torch.inference_mode(), slim(model, CONFIG) as loop:
        found = model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]
        kept = loop.kept_positions(cache)
    assert len(kept[5]) < 80
    torch.testing.assert_close(found, dense_logits(model, ids, kept, 80)[-1], atol=1e-5, rtol=1e-5)
    total = sum(p.numel() for p in model.parameters())
    assert shape_of(model.config).params == pytest.approx(total, rel=0.01)


def test_what_passes_loads_and_runs_by_its_name(tmp_path: Path) -> None:
    tiny_model("olmo").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), device="cpu", dtype="float32")
    assert loaded.notes == (
        "Models of type olmo are on no list here: a self-test on a tiny random copy passed, and it runs by its layers' "
        "own forward.",
    )
    request = PromptRequest(Prompt.of_ids(token_ids(80)[0].tolist(), 4), Sampling(2), Pruning(CONFIG))
    assert any(isinstance(event, Finished) for event in SlimEngine(loaded).run(request))


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("nanochat", "something happens to its embeddings before the first layer"),
        ("granite_swa", "something happens to its logits behind the head"),
        ("gpt_neox", "its decoder has no layers"),
        ("deepseek_v3", "its layers cannot be called one by one"),
        ("doge", "its attention is not that of the queries and keys"),
        ("jamba", "not supported"),
    ],
)
def test_what_does_not_pass_is_refused_in_a_sentence(family: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refused:
        family_of(AutoConfig.for_model(family))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("family", [*FUSED, *PLAIN])
def test_the_families_of_the_list_pass_as_well(family: str) -> None:
    found = self_test(tiny_model(family).config)
    assert found.difference < 1e-5
    assert found.family is FAMILIES[family]


def test_a_self_test_is_made_once_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = self_test(AutoConfig.for_model("phi", num_hidden_layers=30))
    torch.testing.assert_close(torch.rand(3), expected)
    assert self_test(AutoConfig.for_model("phi", num_hidden_layers=30)) is first
