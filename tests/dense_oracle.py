"""The dense oracle: a stock forward over all tokens in which, from each prune layer on, the dropped
positions are masked as keys. Written without the project's own loop, masks or cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def dense_logits(model: Any, ids: Tensor, kept_per_layer: list[Tensor], prompt: int) -> Tensor:
    """Logits [tokens, vocabulary] of the stock model over `ids` [1, tokens], batch 1.

    Args:
        kept_per_layer: for each layer, the original prompt positions that are alive in it.
        prompt: number of prompt tokens; later ones are alive everywhere.
    """
    count = ids.shape[1]
    position = torch.arange(count)
    window = getattr(model.config, "sliding_window", None)
    types = getattr(model.config, "layer_types", None)
    handles = []

    def masked(index: int) -> Any:
        alive = torch.zeros(count, dtype=torch.bool)
        alive[kept_per_layer[index]] = True
        alive[prompt:] = True
        allowed = (position[None, :] <= position[:, None]) & alive[None, :]
        if window is not None and (types is None or types[index] == "sliding_attention"):
            allowed &= position[:, None] - position[None, :] < window
        allowed |= torch.eye(count, dtype=torch.bool)  # rows of dropped tokens must not be empty
        mask: Tensor = allowed[None, None]
        if model.config._attn_implementation == "eager":
            mask = torch.where(mask, 0.0, torch.finfo(model.dtype).min).to(model.dtype)

        def hook(module: Any, args: Any, kwargs: Any) -> Any:
            return args, kwargs | {"attention_mask": mask}

        return hook

    try:
        for index, layer in enumerate(model.get_decoder().layers):
            handles.append(layer.register_forward_pre_hook(masked(index), with_kwargs=True))
        with torch.inference_mode():
            logits: Tensor = model(ids, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits
