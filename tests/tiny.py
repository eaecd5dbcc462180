"""Tiny random models of every fused family, of the plain ones, and a tiny tokenizer, built in milliseconds."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from sliminfer.model.loading import LoadedModel, wrap_model

VOCAB = 320
FAMILIES: dict[str, tuple[type, type]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "phi3": (Phi3Config, Phi3ForCausalLM),
}


# Families whose layers run by their own forward, with what their tiny config needs beyond the common settings.
PLAIN: dict[str, dict[str, Any]] = {
    "arcee": {},
    "apertus": {},
    "cohere": {"logit_scale": 0.5, "use_qk_norm": True},
    "ernie4_5": {"head_dim": 8},
    "glm": {"head_dim": 8},
    "glm4": {"head_dim": 8},
    "granite": {"attention_multiplier": 0.2, "embedding_multiplier": 3.0, "logits_scaling": 2.0},
    "granitemoe": {"attention_multiplier": 0.2, "embedding_multiplier": 3.0, "num_local_experts": 4},
    "helium": {"head_dim": 8},
    "hunyuan_v1_dense": {"head_dim": 8},
    "mixtral": {"num_local_experts": 4},
    "nemotron": {"head_dim": 8},
    "olmo2": {},
    "phimoe": {"num_local_experts": 4},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 8},
    "seed_oss": {"head_dim": 8},
    "smollm3": {},
    "stablelm": {"qk_layernorm": True, "use_parallel_residual": True},
    "starcoder2": {},
}


def tiny_model(
    family: str = "llama",
    attention: str = "sdpa",
    dtype: torch.dtype = torch.float32,
    layers: int = 6,
    seed: int = 0,
    **changes: Any,
) -> Any:
    """A random model: width 32, 4 query and 2 KV heads, weights large enough that attention is not flat."""
    settings: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.25,
        "attn_implementation": attention,
    }
    if family == "qwen3":
        settings["head_dim"] = 8
    if family == "mistral":
        settings["sliding_window"] = None
    torch.manual_seed(seed)
    if family in FAMILIES:
        config_class, model_class = FAMILIES[family]
        model = model_class(config_class(**(settings | changes)))
    else:
        # Weights not as large: the logits of some are large enough as it is for fp32 to round them by 1e-5.
        config = AutoConfig.for_model(family, **(settings | {"initializer_range": 0.15} | PLAIN[family] | changes))
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return model.to(dtype).eval()


def token_ids(count: int, seed: int = 0) -> torch.Tensor:
    """Random ids [1, count], free of special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (1, count), generator=generator)


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 320 entries with special tokens and a chat template."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the lamp of the north tower was lit at nine and the keeper wrote it down"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        chat_template=(
            "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '\\nAnswer:' }}{% endif %}"
        ),
    )


def tiny_loaded(family: str = "llama", **changes: Any) -> LoadedModel:
    """A tiny model with its tokenizer, as `load_model` would give it."""
    model = tiny_model(family, **changes)
    backend = model.config._attn_implementation
    return wrap_model(f"tiny-{family}", model, tiny_tokenizer(), torch.device("cpu"), backend)
