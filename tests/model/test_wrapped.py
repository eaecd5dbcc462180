"""Models that also see: their text part loads by the whole model's name and is pruned by the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished
from sliminfer.engine.request import PromptRequest, Pruning, Sampling
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.model.loading import LoadedModel, load_model
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_model, tiny_tokenizer, token_ids

CONFIG = SlimConfig(steps=(PruneStep(4, 0.5),), query_window=4, local=8)
SIGHT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


# Whole models and the type of their text part. The last two are no AutoModelForCausalLM: Mistral Small 3.1 and later,
# and Ministral 3.
WHOLE = [
    ("gemma3", "gemma3_text", AutoModelForCausalLM),
    ("gemma4", "gemma4_text", AutoModelForCausalLM),
    ("qwen3_5", "qwen3_5_text", AutoModelForCausalLM),
    ("llama4", "llama4_text", AutoModelForCausalLM),
    ("mistral3", "mistral", AutoModelForImageTextToText),
    ("mistral3", "ministral3", AutoModelForImageTextToText),
]


@pytest.fixture(params=WHOLE, ids=lambda names: f"{names[0]} of {names[1]}")
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    whole, part, kind = request.param
    sight = {"model_type": "pixtral", **SIGHT} if whole == "mistral3" else SIGHT
    config = AutoConfig.for_model(whole, text_config=tiny_model(part).config.to_dict(), vision_config=sight)
    kind.from_config(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return load_model(str(tmp_path), device="cpu", dtype="float32")


def test_the_engine_runs_the_text_part(loaded: LoadedModel) -> None:
    prompt = Prompt.of_ids(token_ids(80)[0].tolist(), 4)
    request = PromptRequest(prompt, Sampling(3, ignore_eos=True), Pruning(CONFIG))
    engine = SlimEngine(loaded)
    (full,) = [event for event in engine.run(request, "full") if isinstance(event, Finished)]
    (pruned,) = [event for event in engine.run(request, "pruned") if isinstance(event, Finished)]
    with torch.inference_mode():
        stock = loaded.model.generate(token_ids(80), max_new_tokens=3, do_sample=False, eos_token_id=None)[0, 80:]
    assert list(full.metrics.token_ids) == stock.tolist()
    assert pruned.metrics.tokens_per_layer[3] == 80 > pruned.metrics.tokens_per_layer[4]


def test_masks_that_the_whole_model_makes_are_refused(tmp_path: Path) -> None:
    text = tiny_model("gemma3_text").config.to_dict()
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=SIGHT)
    model: Any = AutoModelForCausalLM.from_config(config).eval()
    with torch.inference_mode(), slim(model, CONFIG), pytest.raises(ConfigError, match="several masks"):
        model(input_ids=token_ids(80), logits_to_keep=1)
