"""JSON as strict as its standard: finite numbers, whole characters, and no more of it than a call has."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

DEEPEST = 32
MOST_VALUES = 50_000  # in the body of a call; a document is one of them
LARGEST = 2**63  # of a whole number, as everything behind it can hold


class BadJSONError(ValueError):
    """A body that is not taken: one sentence that says why."""


def parse(body: bytes, most: int = MOST_VALUES) -> Any:
    """The value in `body`, with what is left of a character that was cut in two as U+FFFD.

    Raises BadJSONError, also for more than `most` values in all.
    """
    try:
        value = json.loads(body, parse_constant=_no_number)
    except RecursionError as error:
        raise BadJSONError("The JSON is nested too deeply: send less.") from error
    except ValueError as error:
        said = str(error) if isinstance(error, BadJSONError) else "The body is no JSON in UTF-8: correct it."
        raise BadJSONError(said) from error
    holder = [value]
    _check(holder, most)
    return holder[0]


def _no_number(name: str) -> NoReturn:
    raise BadJSONError(f"{name} is no number in JSON: send a finite one.")


def _check(holder: list[Any], most: int) -> None:
    """Check all values under `holder`, and mend its texts in place."""
    waiting: list[tuple[Any, int]] = [(holder, 0)]
    seen = 0
    while waiting:
        place, depth = waiting.pop()
        if depth > DEEPEST:
            raise BadJSONError("The JSON is nested too deeply: send less.")
        items = list(place.items() if isinstance(place, dict) else enumerate(place))
        seen += len(items)
        if seen > most:
            raise BadJSONError(f"The JSON holds more than {most:,} values: send less.")
        for key, value in items:
            if isinstance(key, str) and _mended(key) != key:
                raise BadJSONError("A name in the JSON holds half a character: correct it.")
            if isinstance(value, str):
                place[key] = _mended(value)
            elif isinstance(value, list | dict):
                waiting.append((value, depth + 1))
            elif isinstance(value, float) and not math.isfinite(value):
                raise BadJSONError("A number in the JSON is too large: send a finite one.")
            elif isinstance(value, int) and abs(value) >= LARGEST:
                raise BadJSONError("A number in the JSON is too large: send one of 64 bits.")


def _mended(text: str) -> str:
    """`text` with its lone surrogates replaced, which cannot be written as UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
