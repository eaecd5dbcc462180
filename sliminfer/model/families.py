"""Which decoder stacks of transformers the layer loop knows, and what it asks of their configs."""

from __future__ import annotations

from typing import Any

from torch import nn

from sliminfer.errors import ModelError

SUPPORTED = ("llama", "qwen2", "qwen3", "mistral", "phi3")


def find_decoder(model: nn.Module) -> Any:
    """The decoder stack inside `model`; raises ModelError where its family is not supported."""
    outer: Any = model
    decoder: Any = outer.get_decoder() if hasattr(outer, "get_decoder") else outer
    family = getattr(getattr(decoder, "config", None), "model_type", type(model).__name__)
    if family not in SUPPORTED or not hasattr(decoder, "layers"):
        raise ModelError(f"Models of type {family!r} are not supported: use one of {', '.join(SUPPORTED)}.")
    return decoder


def rotary_switch(config: Any) -> int | None:
    """Tokens after which a model with two sets of rotary factors (LongRoPE) takes the other one for all tokens."""
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    return int(parameters["original_max_position_embeddings"])


def sliding_window(config: Any, layer: int) -> int | None:
    """The sliding window of `layer` in tokens, None for full attention."""
    window: int | None = getattr(config, "sliding_window", None)
    if window is None:
        return None
    types = getattr(config, "layer_types", None)
    return window if types is None or types[layer] == "sliding_attention" else None
