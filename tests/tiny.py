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

from sliminfer.model.families import FAMILIES as KNOWN
from sliminfer.model.loading import LoadedModel, wrap_model

VOCAB = 320
FAMILIES: dict[str, tuple[type, type]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "phi3": (Phi3Config, Phi3ForCausalLM),
}


# What several of the configs below say: windows that bind, which layers have them, experts that tokens are sent to.
_WINDOW: dict[str, Any] = {"sliding_window": 24}
_ALTERNATING: dict[str, Any] = {"layer_types": ["sliding_attention", "full_attention"] * 3, **_WINDOW}
_ROUTED: dict[str, Any] = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_group": 1,
    "topk_group": 1,
}
_HEATED: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "llama_4_scaling_beta": 0.5,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
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
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 12, **_WINDOW},
    "gemma3_text": {"head_dim": 8, "query_pre_attn_scalar": 12, "sliding_window_pattern": 3, **_WINDOW},
    "gemma4_text": {
        "head_dim": 8,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 0,
        "final_logit_softcapping": 20.0,
        "rope_parameters": {
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
        **_ALTERNATING,
    },
    "gpt_oss": {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, **_ALTERNATING},
    "olmo3": _ALTERNATING,
    "exaone4": {"sliding_window_pattern": 3, **_ALTERNATING},
    "exaone_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "n_group": 1,
        "topk_group": 1,
        **_ALTERNATING,
        "mlp_layer_types": ["dense", *["sparse"] * 5],
    },
    "cohere2": {"logit_scale": 0.5, **_ALTERNATING},
    "cwm": {"head_dim": 8, **_ALTERNATING},
    "ministral": {"head_dim": 8, **_ALTERNATING},
    "ministral3": {"head_dim": 8, "rope_parameters": _HEATED},
    "glm4_moe": {"head_dim": 8, "first_k_dense_replace": 1, "use_qk_norm": True, **_ROUTED},
    "dots1": {"head_dim": 8, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, **_ROUTED},
    "minimax_m2": {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "ernie4_5_moe": {"head_dim": 8, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 24},
    "flex_olmo": {"num_experts": 4, "num_experts_per_tok": 2},
    "hunyuan_v1_moe": {"head_dim": 8, "num_experts": 4, "moe_topk": 2},
    "vaultgemma": {"head_dim": 8, "query_pre_attn_scalar": 12, **_ALTERNATING},
    "granitemoeshared": {"num_local_experts": 4, "shared_intermediate_size": 40, "attention_multiplier": 0.2},
    "solar_open": {"head_dim": 8, **_ROUTED},
    "hy_v3": {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "stablelm": {"qk_layernorm": True, "use_parallel_residual": True},
    "starcoder2": {},
    "llama4_text": {
        "head_dim": 8,
        "attention_chunk_size": 24,
        "no_rope_layer_interval": 3,
        "interleave_moe_layer_step": 2,
        "intermediate_size_mlp": 40,
        "num_local_experts": 4,
        "floor_scale": 16,
        "attn_scale": 0.5,
    },
}


# Hybrids, in which some layers have a state in place of keys.
_DELTA: dict[str, Any] = {
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "full_attention_interval": 3,
}
_FEW: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
HYBRIDS: dict[str, dict[str, Any]] = {
    "qwen3_5_text": _DELTA,
    "qwen3_5_moe_text": {"shared_expert_intermediate_size": 24, **_DELTA, **_FEW},
    "qwen3_next": {"shared_expert_intermediate_size": 24, **_DELTA, **_FEW},
    "lfm2": {"full_attn_idxs": [2, 5], "block_auto_adjust_ff_dim": False},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention"] * 2, "num_dense_layers": 2, **_FEW},
}


def tiny_model(
    family: str = "llama",
    attention: str | None = None,
    dtype: torch.dtype = torch.float32,
    layers: int = 6,
    seed: int = 0,
    **changes: Any,
) -> Any:
    """A random model: width 32, 4 query and 2 KV heads, weights large enough that attention is not flat.

    `attention` is sdpa where nothing is said, or eager where the family has no sdpa.
    """
    if attention is None:
        attention = "sdpa" if family not in KNOWN or "sdpa" in KNOWN[family].backends else "eager"
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
        own = {"initializer_range": 0.15} | (PLAIN | HYBRIDS).get(family, {})
        config = AutoConfig.for_model(family, **(settings | own | changes))
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
