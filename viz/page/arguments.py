"""Arguments of the endpoints for programs: what JSON gives, as the function's types have it, or one sentence."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_type_hints

import gradio as gr

from sliminfer.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

MOST_PASSAGES = 64  # to be kept or dropped, of one call
LONGEST_PASSAGE = 4_000  # characters of one

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def typed(function: F) -> F:
    """`function`, called with values of the types that it names: 1 is as good as 1.0, and text is no number.

    Raises gr.Error, one sentence, for a value that is not of its type. Types other than text, numbers and truth values
    are the function's own business.
    """
    hints, signature = get_type_hints(function), inspect.signature(function)

    def fitting(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = signature.bind(*args, **kwargs).arguments
        return {name: _fitting(name, value, hints[name]) for name, value in given.items()}

    @functools.wraps(function)
    def answering(*args: Any, **kwargs: Any) -> Any:
        return function(**fitting(args, kwargs))

    @functools.wraps(function)
    def streaming(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from function(**fitting(args, kwargs))

    return streaming if inspect.isgeneratorfunction(function) else answering  # type: ignore[return-value]


def passages(name: str, given: Any) -> Any:
    """What an argument called `name` gives to be kept or dropped; raises ConfigError for more than is looked for.

    Each is looked for in the whole document. What they are is checked where they are looked for.
    """
    if isinstance(given, list) and len(given) > MOST_PASSAGES:
        raise ConfigError(f"{name} has {len(given):,} passages: give up to {MOST_PASSAGES}.")
    if isinstance(given, list) and any(isinstance(each, str) and len(each) > LONGEST_PASSAGE for each in given):
        raise ConfigError(f"{name} has a passage of more than {LONGEST_PASSAGE:,} characters: split it.")
    return given or ()


def _fitting(name: str, value: Any, kind: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind not in _WORDS or (kind in (str, bool) and isinstance(value, kind)):
        return value
    if number and (kind is float or (kind is int and float(value).is_integer())):
        return kind(value)
    raise gr.Error(f"{name} must be {_WORDS[kind]}: see /gradio_api/info.", print_exception=False)
