"""The decoder families that the layer loop knows, one file each, and what their configs say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from sliminfer.model.families.base import Family
from sliminfer.schedule.sight import Chunk


def described(files: Iterable[ModuleType]) -> dict[str, Family]:
    """The families that `files` describe, by model type; one may stand in several that share it.

    Raises:
        ValueError: two of them describe one model type.
    """
    found: dict[str, Family] = {}
    for module in files:
        for family in (each for each in vars(module).values() if isinstance(each, Family)):
            if found.setdefault(family.model_type, family) is not family:
                raise ValueError(
                    f"{module.__name__} describes {family.model_type!r}, which another file does: keep one."
                )
    return found


def modules() -> Iterator[ModuleType]:
    """Every file of this folder, by name."""
    for name in sorted(module.name for module in iter_modules(__path__)):
        yield import_module(f"{__name__}.{name}")


FAMILIES: dict[str, Family] = described(modules())


def text_config(config: Any) -> Any:
    """What a config says of the model that reads text, be it all that there is or a part."""
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def rotary_switch(config: Any) -> int | None:
    """Tokens after which a model with two sets of rotary factors (LongRoPE) takes the other one for all tokens."""
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    return int(parameters["original_max_position_embeddings"])


def rotary_limit(config: Any) -> int | None:
    """Tokens beyond which a model with dynamic rotary factors takes others for every length; None for any other."""
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return int(config.max_position_embeddings) if "dynamic" in str(rope_type) else None


def rotary_varies(config: Any) -> bool:
    """Whether the model's rotary module sets its factors anew by the length of each call, for the whole process."""
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return isinstance(rope_type, str) and ("dynamic" in rope_type or rope_type == "longrope")


def sliding_window(config: Any, layer: int) -> int | None:
    """The sliding window of `layer` in tokens, or the chunk that it sees; None for full attention."""
    window: int | None = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if types is not None and types[layer] == "chunked_attention":
        return Chunk(config.attention_chunk_size)
    if window is None:
        return None
    return window if types is None or types[layer] == "sliding_attention" else None
