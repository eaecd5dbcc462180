"""The published dimensions: what transformers would build from them, and what fits where."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoConfig

from sliminfer.model.known import KNOWN
from sliminfer.model.recognise import shape_of

_CONVOLVED: dict[str, Any] = {"full_attn_idxs": [2, 5, 8, 10, 12, 14], "block_auto_adjust_ff_dim": False}
_UNIFIED: dict[str, Any] = {
    "head_dim": 256,
    "global_head_dim": 512,
    "attention_k_eq_v": True,
    "hidden_size_per_layer_input": 0,
    "sliding_window": 1024,
}
# Fields of published config.json files beyond those that a shape has by name.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen/Qwen3.5-9B": ("qwen3_5_text", {}),
    "Qwen/Qwen3.5-35B-A3B": ("qwen3_5_moe_text", {}),
    "google/gemma-3-270m-it": ("gemma3_text", {"sliding_window": 512}),
    "openai/gpt-oss-20b": ("gpt_oss", {"num_local_experts": 32, "sliding_window": 128}),
    "allenai/Olmo-3-7B-Instruct": ("olmo3", {"sliding_window": 4096}),
    "HuggingFaceTB/SmolLM3-3B": ("smollm3", {}),
    "LiquidAI/LFM2-350M": ("lfm2", _CONVOLVED),
    "LiquidAI/LFM2-1.2B": ("lfm2", _CONVOLVED),
    "LiquidAI/LFM2-8B-A1B": (
        "lfm2_moe",
        {
            "intermediate_size": 7168,
            "num_dense_layers": 2,
            "num_experts": 32,
            "num_experts_per_tok": 4,
            "layer_types": ["full_attention" if i in (2, 6, 10, 14, 18, 21) else "conv" for i in range(24)],
        },
    ),
    "mistralai/Ministral-3-3B-Instruct-2512": ("ministral3", {}),
    "mistralai/Ministral-3-14B-Instruct-2512": ("ministral3", {}),
    "google/gemma-4-31B-it": ("gemma4_text", _UNIFIED | {"num_key_value_heads": 16}),
    "google/gemma-4-26B-A4B-it": (
        "gemma4_text",
        _UNIFIED
        | {
            "num_key_value_heads": 8,
            "intermediate_size": 2112,
            "enable_moe_block": True,
            "num_experts": 128,
            "top_k_experts": 8,
        },
    ),
    "Qwen/Qwen3.6-27B": ("qwen3_5_text", {"linear_num_value_heads": 48}),
    "Qwen/Qwen3.6-35B-A3B": ("qwen3_5_moe_text", {}),
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
    if "global_head_dim" in extra:
        said["num_global_key_value_heads"] = known.kv_heads
    built = shape_of(AutoConfig.for_model(kind, **(said | extra)))
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
    "mistralai/Ministral-3-8B-Instruct-2512": "ministral3",
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_where_transformers_has_the_dimensions_itself_they_are_these(name: str) -> None:
    known, built = KNOWN[name].shape, shape_of(AutoConfig.for_model(DEFAULTS[name]))
    for field in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "tied", "seeing"):
        assert getattr(built, field) == getattr(known, field), field
    assert built.params == pytest.approx(known.params, rel=1e-5)
    for mine, theirs in ((known.layer(i), built.layer(i)) for i in (0, known.layers - 1)):
        assert (mine.kv_width, mine.window) == (theirs.kv_width, theirs.window)
        assert mine.passed == pytest.approx(theirs.passed, rel=1e-3)


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
        ("meta-llama/Llama-3.1-8B-Instruct", 8.03),
        ("mistralai/Ministral-3-3B-Instruct-2512", 3.4),
        ("mistralai/Ministral-3-14B-Instruct-2512", 13.5),
        ("LiquidAI/LFM2-350M", 0.354),
        ("LiquidAI/LFM2-1.2B", 1.17),
        ("LiquidAI/LFM2-8B-A1B", 8.34),
        ("google/gemma-4-26B-A4B-it", 25.2),
        ("google/gemma-4-31B-it", 30.7),
        ("Qwen/Qwen3.6-27B", 27.0),
    ],
)
def test_parameters_are_as_many_as_their_makers_say(name: str, billions: float) -> None:
    assert KNOWN[name].shape.params / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_model_whose_dimensions_were_not_read_whole_is_held_to_its_parameters() -> None:
    (counted,) = (
        mark for mark in test_parameters_are_as_many_as_their_makers_say.pytestmark if mark.name == "parametrize"
    )
    held = {name for name, _ in counted.args[1]}
    assert {name for name, model in KNOWN.items() if model.source == "parameters"} <= held
    assert {name for name, model in KNOWN.items() if model.source == "transformers"} <= {*DEFAULTS, *CONFIGS}
