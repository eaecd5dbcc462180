"""Where the decoder layers of a transformers model are."""

from __future__ import annotations

from typing import Any


def decoder_of(model: Any) -> Any:
    """The decoder in `model`: what transformers says it is or, where that is the model with its head, what is below."""
    found = model.get_decoder() if hasattr(model, "get_decoder") else model
    inner = getattr(found, "model", None)  # Llama 4 has it under a name that transformers does not look for
    return inner if not hasattr(found, "layers") and hasattr(inner, "layers") else found
