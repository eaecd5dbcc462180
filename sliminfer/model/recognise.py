"""Which family a model is of: one of the list, or one that a self-test finds out and lets pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from sliminfer.errors import ModelError
from sliminfer.model.decoder import decoder_of
from sliminfer.model.families import FAMILIES, sliding_window, text_config
from sliminfer.model.families.base import Family
from sliminfer.model.unknown import self_test
from sliminfer.schedule.shapes import ModelShape


def family_of(config: Any) -> Family:
    """The family of a transformers config, or of the text model in it; raises ModelError where it is not supported."""
    found = text_config(config)
    name = getattr(found, "model_type", None)
    if name in FAMILIES:
        return FAMILIES[name]
    if not hasattr(found, "to_dict"):
        raise ModelError(f"Models of type {name!r} are not supported: use one of {', '.join(FAMILIES)}.")
    return self_test(found).family


def shape_of(config: Any) -> ModelShape:
    """The dimensions in a transformers config; raises ModelError where they cannot be counted."""
    config = text_config(config)
    family = family_of(config)
    shape = replace(family.shape(config), fused=family.fused is not None)
    windows = [sliding_window(config, index) for index in range(shape.layers)]
    if not any(windows):
        return shape
    layers = (replace(shape.layer(index), window=window) for index, window in enumerate(windows))
    return replace(shape, varied=tuple(layers))


def find_decoder(model: nn.Module) -> Any:
    """The decoder stack inside `model`; raises ModelError where it has none, or its family is not supported."""
    decoder: Any = decoder_of(model)
    config = getattr(decoder, "config", None)
    if config is None or not hasattr(decoder, "layers"):
        name = getattr(config, "model_type", type(model).__name__)
        raise ModelError(f"Models of type {name!r} are not supported: use one of {', '.join(FAMILIES)}.")
    family_of(config)
    return decoder
