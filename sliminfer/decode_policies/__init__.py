"""Who chooses what decode attends to, by name. Policies save decode work and device memory, not prefill."""

from __future__ import annotations

from typing import Any

from sliminfer.cache import SlimCache
from sliminfer.cache.stages import check_attending
from sliminfer.decode_policies.base import DecodePolicy
from sliminfer.decode_policies.cache import PolicyCache
from sliminfer.decode_policies.lychee import Lychee
from sliminfer.decode_policies.retrieval import Retrieval
from sliminfer.decode_policies.searched import SearchedLayer
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig

__all__ = ["DecodePolicy", "PolicyCache", "SearchedLayer", "available", "check_policy", "make_cache"]

BLOCKS = "blocks"
_POLICIES: dict[str, type[DecodePolicy]] = {policy.name: policy for policy in (Retrieval, Lychee)}


def available() -> tuple[str, ...]:
    """Names of all policies, the cache manager's own first."""
    return (BLOCKS, *_POLICIES)


def check_policy(config: SlimConfig) -> None:
    """Raise ConfigError where `config.decode` is unknown, lacks a budget or has options it cannot read."""
    if config.decode == BLOCKS:
        if config.decode_options:
            raise ConfigError(
                f"Decode policy {BLOCKS} has no option {next(iter(config.decode_options))!r}: it has none."
            )
        return
    if config.decode not in _POLICIES:
        raise ConfigError(f"Unknown decode policy {config.decode!r}: choose one of {', '.join(available())}.")
    if config.active is None:
        raise ConfigError(f"Decode policy {config.decode} needs a budget: set active, as in 0.1 or 2048.")
    _POLICIES[config.decode].check(config)


def make_cache(config: SlimConfig, layers: int, blocks: BlockMap, **kwargs: Any) -> SlimCache:
    """The cache of one prompt under `config`; arguments as for SlimCache."""
    check_policy(config)
    check_attending(config, kwargs.get("attending") or ())
    if config.decode == BLOCKS or config.active is None:
        return SlimCache(config, layers, blocks, **kwargs)
    return PolicyCache(config, layers, blocks, _POLICIES[config.decode](config), **kwargs)
