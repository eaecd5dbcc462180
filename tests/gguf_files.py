"""Tiny GGUF files: a model of `tests.tiny` and its tokenizer, written by the package gguf in llama.cpp's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map
from gguf.quants import dequantize, quantize

from tests.tiny import tiny_tokenizer

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3"}


def write_gguf(
    path: Path, model: Any, kind: str = "Q8_0", edit: Callable[[GGUFWriter, str], None] | None = None
) -> dict[str, torch.Tensor]:
    """Write `model` with matrices in the format `kind`, or F16 where their rows are no whole blocks.

    Args:
        edit: gets the writer and the architecture before the file is written, to add or change metadata and tensors.

    Returns:
        The weights that the file then holds, by transformers' name, in fp32.
    """
    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_rope_dimension_count(int(head_dim * config.rope_parameters.get("partial_rotary_factor", 1.0)))
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    _add_tokenizer(writer)
    names = get_tensor_name_map(MODEL_ARCH[architecture.upper()], config.num_hidden_layers)
    held: dict[str, torch.Tensor] = {}
    for name, weight in model.state_dict().items():
        module, _, leaf = name.rpartition(".")
        if module == "lm_head" and config.tie_word_embeddings:
            continue
        form = _form(weight, kind)
        data = quantize(weight.float().numpy(), form)
        held[name] = torch.from_numpy(np.array(dequantize(data, form))).view(weight.shape)
        if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
            count = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            data = data.reshape(count, 2, len(data) // count // 2, -1).swapaxes(1, 2).reshape(data.shape)
        writer.add_tensor(f"{names.get_name(module)}.{leaf}", data, raw_dtype=form)
    if config.tie_word_embeddings:
        held["lm_head.weight"] = held["model.embed_tokens.weight"]
    if edit is not None:
        edit(writer, architecture)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def _form(weight: torch.Tensor, kind: str) -> GGMLQuantizationType:
    if weight.ndim == 1:
        return GGMLQuantizationType.F32
    form = GGMLQuantizationType[kind]
    return form if weight.shape[1] % GGML_QUANT_SIZES[form][0] == 0 else GGMLQuantizationType.F16


def _add_tokenizer(writer: GGUFWriter) -> None:
    tokenizer = tiny_tokenizer()
    inside = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = sorted(inside["model"]["vocab"], key=inside["model"]["vocab"].get)
    special = {token["content"] for token in inside["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in inside["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)
