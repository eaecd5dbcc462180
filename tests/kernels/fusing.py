"""A stock model whose layers run their fused steps, driven by the model's own forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sliminfer.model.fused import FusedLayer, is_known
from sliminfer.ops.workspace import Workspace


@contextmanager
def fuse_layer_ops(model: Any, mlp_slice: int | None = None) -> Iterator[int]:
    """Within the block, decoder layers of known form run fused where they may; yields how many do."""
    layers = model.get_decoder().layers
    workspace, known = Workspace(), [layer for layer in layers if is_known(layer)]
    for layer in known:
        layer.forward = _either(layer, FusedLayer(layer, workspace, mlp_slice, len(layers)))
    try:
        yield len(known)
    finally:
        for layer in known:
            del layer.forward


def _either(layer: Any, fused: FusedLayer) -> Any:
    def forward(hidden_states: Any, **given: Any) -> Any:
        if fused.serves(hidden_states):
            return fused(
                hidden_states,
                given.get("attention_mask"),
                given["position_embeddings"],
                given.get("past_key_values"),
            )
        return type(layer).forward(layer, hidden_states, **given)

    return forward
