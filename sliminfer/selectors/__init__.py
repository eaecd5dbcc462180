"""The pruning methods, by name."""

from __future__ import annotations

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.adaptive import Adaptive
from sliminfer.selectors.base import Attention, PrefillPlan, PromptView, PruneView, Selection, Selector
from sliminfer.selectors.fastkv import FastKV
from sliminfer.selectors.full import Full
from sliminfer.selectors.gemfilter import GemFilter
from sliminfer.selectors.lazyllm import LazyLLM
from sliminfer.selectors.oracle import Oracle
from sliminfer.selectors.random import Random
from sliminfer.selectors.sliminfer import SlimInfer
from sliminfer.selectors.streaming import Streaming

__all__ = [
    "Attention",
    "PrefillPlan",
    "PromptView",
    "PruneView",
    "Selection",
    "Selector",
    "available",
    "check_method",
    "make_selector",
    "published",
    "register",
    "selector_class",
]

_OWN = (Full, SlimInfer, Adaptive, FastKV, LazyLLM, GemFilter, Streaming, Random, Oracle)
_METHODS: dict[str, type[Selector]] = {method.name: method for method in _OWN}


def available() -> tuple[str, ...]:
    """Names of the project's methods, the full model first; registered ones work by name but are not listed."""
    return tuple(method.name for method in _OWN)


def selector_class(name: str) -> type[Selector]:
    """The class of method `name`; raises ConfigError for an unknown one."""
    if name not in _METHODS:
        raise ConfigError(f"Unknown method {name!r}: choose one of {', '.join(_METHODS)}.")
    return _METHODS[name]


def register(method: type[Selector]) -> type[Selector]:
    """Make `method` known by its name to configs, engine and command line; usable as a class decorator."""
    _METHODS[method.name] = method
    return method


def make_selector(config: SlimConfig, prompt: PromptView) -> Selector:
    """The selector of `config.method` for one prompt."""
    return selector_class(config.method)(config, prompt)


def check_method(config: SlimConfig) -> None:
    """Raise ConfigError where `config.method` is unknown or cannot follow the steps or options of `config`."""
    selector_class(config.method).check(config)


def published(method: str, layers: int) -> SlimConfig:
    """The published setting of `method`, scaled to a model of `layers` layers."""
    return selector_class(method).published(layers)
