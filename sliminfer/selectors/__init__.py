"""The pruning methods, by name."""

from __future__ import annotations

from sliminfer.config import SlimConfig
from sliminfer.errors import ConfigError
from sliminfer.selectors.base import PromptView, PruneView, Selection, Selector
from sliminfer.selectors.full import Full
from sliminfer.selectors.sliminfer import SlimInfer

__all__ = ["PromptView", "PruneView", "Selection", "Selector", "available", "make_selector", "selector_class"]

_METHODS: dict[str, type[Selector]] = {method.name: method for method in (Full, SlimInfer)}


def available() -> tuple[str, ...]:
    """Names of all methods, the full model first."""
    return tuple(_METHODS)


def selector_class(name: str) -> type[Selector]:
    """The class of method `name`; raises ConfigError for an unknown one."""
    if name not in _METHODS:
        raise ConfigError(f"Unknown method {name!r}: choose one of {', '.join(_METHODS)}.")
    return _METHODS[name]


def make_selector(config: SlimConfig, prompt: PromptView) -> Selector:
    """The selector of `config.method` for one prompt."""
    return selector_class(config.method)(config, prompt)
