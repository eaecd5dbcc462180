"""Arguments of the endpoints for programs: what JSON gives, as the function's types have it, or one sentence."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_type_hints

import gradio as gr

F = TypeVar("F", bound=Callable[..., Any])

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


def _fitting(name: str, value: Any, kind: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind not in _WORDS or (kind in (str, bool) and isinstance(value, kind)):
        return value
    if number and (kind is float or (kind is int and float(value).is_integer())):
        return kind(value)
    raise gr.Error(f"{name} must be {_WORDS[kind]}: see /gradio_api/info.", print_exception=False)
