"""Weights and tokenizer of a GGUF file as a transformers model, unpacked to one number format or left packed."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from sliminfer.errors import ModelError
from sliminfer.model.gguf_config import gguf_config
from sliminfer.model.gguf_header import GgufHeader, GgufTensor, read_gguf_header, require_gguf
from sliminfer.model.packed import PackedEmbedding, PackedLinear
from sliminfer.ops.compat import undivided_modules
from sliminfer.ops.ggml import FORMATS, unpack_rows

_log = logging.getLogger(__name__)

_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# Tensors that the config has taken over, or that can be worked out.
_NOT_WEIGHTS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
_TOKENIZERS = ("gpt2", "llama")  # byte-level BPE and SentencePiece, by llama.cpp's names
_SAMPLE = "What is it"
# How text is cut before a byte-level vocabulary's merges apply, by llama.cpp's names: rules that transformers knows or
# that its fallback, GPT-2's, is right for. SmolLM2 cuts single digits besides, but has no merges of them.
_CUTS = (
    "default", "gpt-2", "smollm", "qwen2", "llama3", "llama-v3", "llama-bpe", "smaug-bpe", "dbrx", "tekken", "gpt-4o",
)  # fmt: skip
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def load_gguf(file: Path, dtype: torch.dtype, attention: str, packed: bool) -> tuple[Any, Any]:
    """Model and tokenizer of a GGUF file: the model on the CPU, in evaluation mode, computing in `dtype`.

    Args:
        attention: transformers' name of the attention backend.
        packed: leave matrices in the file's blocks where their format can be unpacked product by product.

    Raises:
        ModelError: the file is damaged, foreign, of a family that is not supported, or the package gguf is missing.
    """
    header = read_gguf_header(file)
    config = gguf_config(header)
    try:
        return _model(header, config, dtype, attention, packed), _tokenizer(header)
    except ModelError:
        raise
    except Exception as error:  # a foreign file can make the libraries that read it raise anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"{file.name} cannot be loaded ({reason}): download it again.") from error


def _model(header: GgufHeader, config: Any, dtype: torch.dtype, attention: str, packed: bool) -> Any:
    model = _empty(config, dtype, attention)
    source = _Source(header, config)
    places = _places(header, model, config)
    stays = {name for name, tensor in places.items() if packed and tensor.kind in FORMATS and _can_pack(model, name)}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        read = {
            name: pool.submit(source.blocks, tensor) if name in stays else pool.submit(source.values, tensor, dtype)
            for name, tensor in places.items()
        }
        weights = {name: job.result() for name, job in read.items()}
    for name in stays:
        _pack(model, name, weights.pop(name), places[name].kind, dtype)
    model.load_state_dict(weights, strict=False, assign=True)
    if config.tie_word_embeddings:
        _tie(model)
    return model.requires_grad_(False).eval()


def spread(model: Any) -> Any:
    """`model` with its layers over all GPUs, about evenly, as transformers spreads them for "balanced"."""
    from accelerate import dispatch_model, infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    whole = undivided_modules(model)
    memory = get_balanced_memory(model, no_split_module_classes=whole)
    return dispatch_model(model, infer_auto_device_map(model, max_memory=memory, no_split_module_classes=whole))


def _tokenizer(header: GgufHeader) -> Any:
    """The file's tokenizer, with its special tokens and chat template."""
    metadata = header.metadata
    kind, vocabulary = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.tokens") or ()
    if kind not in _TOKENIZERS:
        raise ModelError(f"{header.path.name} has a tokenizer of kind {kind}: use one of {', '.join(_TOKENIZERS)}.")
    if kind == "gpt2" and (cut := metadata.get("tokenizer.ggml.pre")) not in _CUTS:
        _log.warning("%s cuts text by a rule called %s, for which GPT-2's is taken.", header.path.name, cut)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(header.path.parent), gguf_file=header.path.name)
    # Versions of transformers differ in which special tokens they take over; the file's are set in any case.
    for name, key in _SPECIAL.items():
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(number, int) and number < len(vocabulary):
            setattr(tokenizer, name, vocabulary[number])
    tokenizer.chat_template = metadata.get("tokenizer.chat_template")
    tokenizer.clean_up_tokenization_spaces = False
    if tokenizer.decode(tokenizer.encode(_SAMPLE, add_special_tokens=False)).strip() != _SAMPLE:
        raise ModelError(f"{header.path.name} has a tokenizer that this version of transformers does not read rightly.")
    return tokenizer


def _empty(config: Any, dtype: torch.dtype, attention: str) -> Any:
    """The model with weights that have shapes and no memory; the rotary frequencies, which no file holds, are real."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    decoder = model.get_decoder()
    decoder.rotary_emb = type(decoder.rotary_emb)(config)
    return model


@dataclass(frozen=True)
class _Source:
    """Reads tensors from a file into the order of rows that transformers has."""

    header: GgufHeader
    config: Any

    def blocks(self, tensor: GgufTensor) -> Tensor:
        """[rows, bytes] in uint8."""
        data = np.fromfile(self.header.path, np.uint8, tensor.size, offset=tensor.start)
        return self._in_order(tensor, torch.from_numpy(data).view(tensor.shape[0], -1))

    def values(self, tensor: GgufTensor, dtype: torch.dtype) -> Tensor:
        """`tensor.shape` in `dtype`, rounded once from fp32."""
        rows = self.blocks(tensor)
        if tensor.kind in _PLAIN:
            return rows.view(_PLAIN[tensor.kind]).view(tensor.shape).to(dtype)
        if tensor.kind in FORMATS:
            return unpack_rows(rows, tensor.kind, dtype)
        gguf = require_gguf()
        try:
            unpacked = gguf.quants.dequantize(rows.numpy(), gguf.GGMLQuantizationType[tensor.kind])
        except NotImplementedError as error:
            raise ModelError(
                f"{self.header.path.name} holds weights in the format {tensor.kind}, which cannot be unpacked: take a "
                f"file in {', '.join(FORMATS)} or F16."
            ) from error
        return torch.from_numpy(unpacked).to(dtype)

    def _in_order(self, tensor: GgufTensor, rows: Tensor) -> Tensor:
        """llama.cpp keeps the two halves of each rotated head interleaved for its "llama" models."""
        heads = {
            "attn_q": self.config.num_attention_heads,
            "attn_k": self.config.num_key_value_heads,
        }.get(tensor.name.split(".")[-2])
        if self.header.architecture != "llama" or heads is None:
            return rows
        return rows.view(heads, len(rows) // heads // 2, 2, -1).transpose(1, 2).reshape(len(rows), -1)


def _places(header: GgufHeader, model: nn.Module, config: Any) -> dict[str, GgufTensor]:
    """The file's tensor for each of the model's weights; raises ModelError where they do not match one to one."""
    gguf, file = require_gguf(), header.path.name
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == header.architecture)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    places: dict[str, GgufTensor] = {}
    for name, weight in model.state_dict().items():
        module, _, leaf = name.rpartition(".")
        tensor = header.tensors.get(f"{names.get_name(module)}.{leaf}")
        if tensor is None and config.tie_word_embeddings and module == "lm_head":
            continue
        if tensor is None:
            raise ModelError(f"{file} has no weights for {name}: it is damaged, or a variant that is not supported.")
        if tensor.shape != weight.shape:
            raise ModelError(f"{file} is damaged: {tensor.name} is {tensor.shape} and should be {tuple(weight.shape)}.")
        places[name] = tensor
    used = {tensor.name for tensor in places.values()}
    stray = [name for name in header.tensors if name not in used and name not in _NOT_WEIGHTS]
    if stray:
        raise ModelError(
            f"{file} holds {stray[0]}, which is no part of its architecture: such a variant is not supported."
        )
    return places


def _can_pack(model: nn.Module, name: str) -> bool:
    module, _, leaf = name.rpartition(".")
    return leaf == "weight" and type(model.get_submodule(module)) in (nn.Linear, nn.Embedding)


def _pack(model: nn.Module, name: str, blocks: Tensor, kind: str, dtype: torch.dtype) -> None:
    """Put a packed module in the place of the one whose weight is called `name`."""
    module = name.rpartition(".")[0]
    old: Any = model.get_submodule(module)
    weight = nn.Parameter(blocks, requires_grad=False)
    if isinstance(old, nn.Embedding):
        model.set_submodule(module, PackedEmbedding(weight, kind, dtype))
    else:
        model.set_submodule(module, PackedLinear(weight, kind, old.bias))


def _tie(model: Any) -> None:
    """Let the head share the embedding's weights, packed or not."""
    embedding = model.get_input_embeddings()
    if isinstance(embedding, PackedEmbedding):
        model.set_output_embeddings(PackedLinear(embedding.weight, embedding.kind, None))
    else:
        model.get_output_embeddings().weight = embedding.weight
