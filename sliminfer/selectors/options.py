"""Checks of the options that methods have in common."""

from __future__ import annotations

from sliminfer.errors import ConfigError


def check_share(name: str, value: object) -> None:
    """Raise ConfigError where option `name` is no number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ConfigError(f"Option {name} is {value!r}: it is a share between 0 and 1.")


def check_count(name: str, value: object, least: int) -> None:
    """Raise ConfigError where option `name` is no whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"Option {name} is {value!r}: it must be a whole number of at least {least}.")


def check_pool(pool: object) -> None:
    """Raise ConfigError where `pool` is no window that can be centred on a token."""
    if isinstance(pool, bool) or not isinstance(pool, int) or pool < 1 or pool % 2 == 0:
        raise ConfigError(f"Option pool is {pool!r}: it must be an odd number of tokens, 1 for no pooling.")
