"""A config of the same form in small: as many kinds of layers, few and narrow ones of each."""

from __future__ import annotations

from typing import Any

_WINDOW = 12
# What a tiny copy says instead, where the config says something.
_SMALL: dict[str, int] = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 256, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "sliding_window": _WINDOW, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "attention_chunk_size": _WINDOW,
}  # fmt: skip
# What says nothing about the form of a decoder, or would make its copy something else than random and whole.
_LEFT_OUT = ("quantization_config", "architectures", "transformers_version", "dtype", "torch_dtype", "_name_or_path")


def small_copy(config: Any) -> dict[str, Any]:
    """What a tiny copy of `config` says: as much of it as there is, in small."""
    said = {name: value for name, value in config.to_dict().items() if name not in _LEFT_OUT}
    small: dict[str, Any] = {name: value for name, value in _SMALL.items() if said.get(name) is not None}
    if said.get("num_key_value_heads") == said.get("num_attention_heads"):
        small["num_key_value_heads"] = _SMALL["num_attention_heads"]
    types = said.get("layer_types")
    depth = 4 if not types else max(4, 1 + max(types.index(kind) for kind in set(types)))
    small["num_hidden_layers"] = depth = min(depth, int(said.get("num_hidden_layers", depth)))
    for name, value in said.items():
        if isinstance(value, list) and len(value) == said.get("num_hidden_layers"):
            small[name] = value[:depth]
        if isinstance(value, dict) and value and all(str(key).isdigit() for key in value):  # by layer
            small[name] = {key: each for key, each in value.items() if int(key) < depth}
    return {**said, **small}
