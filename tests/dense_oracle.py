"""The dense oracle: a stock forward over all tokens in which, from each prune layer on, the dropped
positions are masked as keys. Written without the project's own loop, masks or cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sliminfer.model.decoder import decoder_of


@contextmanager
def dense(model: Any, kept_per_layer: list[Tensor], prompt: int) -> Iterator[None]:
    """Within the block the stock `model`, called without a cache, sees of its first `prompt` tokens what is kept.

    Args:
        kept_per_layer: for each layer, the original prompt positions that are alive in it.
        prompt: number of prompt tokens; later ones are alive everywhere.
    """
    window = getattr(model.config, "sliding_window", None)
    types = getattr(model.config, "layer_types", None)

    def masked(index: int) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            count = args[0].shape[1]
            position = torch.arange(count)
            alive = torch.zeros(count, dtype=torch.bool)
            alive[kept_per_layer[index]] = True
            alive[prompt:] = True
            allowed = (position[None, :] <= position[:, None]) & alive[None, :]
            if window is not None and (types is None or types[index] == "sliding_attention"):
                allowed &= position[:, None] - position[None, :] < window
            if types is not None and types[index] == "chunked_attention":
                chunk = position // model.config.attention_chunk_size
                allowed &= chunk[:, None] == chunk[None, :]
            allowed |= torch.eye(count, dtype=torch.bool)  # rows of dropped tokens must not be empty
            mask: Tensor = allowed[None, None]
            if model.config._attn_implementation == "eager":
                mask = additive(mask, model.dtype)
            return args, kwargs | {"attention_mask": mask}

        return hook

    layers = enumerate(decoder_of(model).layers)
    handles = [layer.register_forward_pre_hook(masked(index), with_kwargs=True) for index, layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def dense_logits(model: Any, ids: Tensor, kept_per_layer: list[Tensor], prompt: int) -> Tensor:
    """Logits [tokens, vocabulary] of the stock model over `ids` [1, tokens], batch 1; see `dense`."""
    with torch.inference_mode(), dense(model, kept_per_layer, prompt):
        logits: Tensor = model(ids, use_cache=False).logits[0]
    return logits


def compacted_logits(model: Any, ids: Tensor, kept_per_layer: list[Tensor]) -> Tensor:
    """Logits [tokens left, vocabulary] of the stock model, each layer of which reads the positions named for it alone.

    What is left of `ids` [1, tokens] keeps its position and closes up: attention sees it as a causal sequence, and a
    layer with a state as a shorter one.
    """

    def cut(index: int) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            before = kept_per_layer[max(0, index - 1)]
            here = kept_per_layer[index]
            hidden = args[0][:, torch.isin(before, here)]
            cos, sin = kwargs["position_embeddings"]
            visible = torch.ones(len(here), len(here), dtype=torch.bool).tril()[None, None]
            if model.config._attn_implementation == "eager":
                visible = additive(visible, model.dtype)
            mask = visible if hasattr(module, "self_attn") else None
            return (hidden,), kwargs | {"position_embeddings": (cos[:, here], sin[:, here]), "attention_mask": mask}

        return hook

    layers = enumerate(decoder_of(model).layers)
    handles = [layer.register_forward_pre_hook(cut(index), with_kwargs=True) for index, layer in layers]
    try:
        with torch.inference_mode():
            logits: Tensor = model(ids, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """What eager attention adds to its scores: nothing where a key is visible, the lowest number elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
