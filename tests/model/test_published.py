"""The published dimensions: what transformers would build from them, and what fits where."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoConfig

from sliminfer.model.known import KNOWN
from sliminfer.model.recognise import shape_of

# Fields of published config.json files beyond those that a shape has by name.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen/Qwen3.5-9B": ("qwen3_5_text", {}),
    "Qwen/Qwen3.5-35B-A3B": ("qwen3_5_moe_text", {}),
    "google/gemma-3-270m-it": ("gemma3_text", {"sliding_window": 512}),
    "openai/gpt-oss-20b": ("gpt_oss", {"num_local_experts": 32, "sliding_window": 128}),
    "allenai/Olmo-3-7B-Instruct": ("olmo3", {"sliding_window": 4096}),
    "HuggingFaceTB/SmolLM3-3B": ("smollm3", {}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_shape_is_that_of_the_model_transformers_builds(name: str) -> None:
    kind, extra = CONFIGS[name]
    known = KNOWN[name].shape
    said = {
        "num_hidden_layers": known.layers,
        "hidden_size": known.hidden,
        "num_attention_heads": known.heads,
        "num_key_value_heads": known.kv_heads,
        "head_dim": known.head_dim,
        "vocab_size": known.vocab,
        "max_position_embeddings": known.context,
        "tie_word_embeddings": known.tied,
        "moe_intermediate_size" if known.experts and kind != "gpt_oss" else "intermediate_size": known.intermediate,
    }
    built = shape_of(AutoConfig.for_model(kind, **said, **extra))
    assert built.params == pytest.approx(known.params, rel=0.002)  # norms and biases
    for index in (0, 1, known.layers - 2, known.layers - 1):
        mine, theirs = known.layer(index), built.layer(index)
        assert (mine.query_width, mine.kv_width, mine.window, mine.mixing) == (
            theirs.query_width,
            theirs.kv_width,
            theirs.window,
            theirs.mixing,
        )
        assert mine.passed == pytest.approx(theirs.passed, rel=0.002)
    assert built.seeing == known.seeing


# Types whose defaults in transformers are the dimensions of that very model, for all but its context.
DEFAULTS = {
    "Qwen/Qwen3.5-9B": "qwen3_5_text",
    "Qwen/Qwen3.5-35B-A3B": "qwen3_5_moe_text",
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
    "microsoft/Phi-3.5-mini-instruct": "phi3",
    "zai-org/GLM-4-9B-0414": "glm4",
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_where_transformers_has_the_dimensions_itself_they_are_these(name: str) -> None:
    known, built = KNOWN[name].shape, shape_of(AutoConfig.for_model(DEFAULTS[name]))
    for field in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "tied", "seeing"):
        assert getattr(built, field) == getattr(known, field), field
    assert built.params == pytest.approx(known.params, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen3-8B", 8.19),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", 30.5),
        ("openai/gpt-oss-20b", 20.9),
        ("google/gemma-3-1b-it", 1.0),
        ("Qwen/Qwen3-4B-Instruct-2507", 4.02),
        ("allenai/Olmo-3-7B-Instruct", 7.3),
        ("ibm-granite/granite-3.3-8b-instruct", 8.17),
        ("zai-org/GLM-4-9B-0414", 9.4),
        ("mistralai/Ministral-8B-Instruct-2410", 8.02),
    ],
)
def test_parameters_are_as_many_as_their_makers_say(name: str, billions: float) -> None:
    assert KNOWN[name].shape.params / 1e9 == pytest.approx(billions, rel=0.01)
