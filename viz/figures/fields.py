"""Fields of a stranger's JSON, each checked as it is read: its kind, its bounds, and one sentence where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sliminfer.errors import SlimError
from sliminfer.schedule.blocks import Span

LONGEST_NAME = 300  # characters
LONGEST_TEXT = 200_000
LARGEST = 2**60  # of a count
HIGHEST = 1e30  # of any other number
_SHOWN = 60  # characters of a field's name that a sentence quotes


class FileError(SlimError):
    """A file that cannot be opened as a result."""


@dataclass(frozen=True)
class Fields:
    """A JSON object; `path` says where in its file it stands.

    Every method but `has` raises FileError where the field is missing, of another kind or out of bounds.
    """

    data: Mapping[str, Any]
    path: str = ""

    @classmethod
    def of(cls, value: Any, path: str = "") -> Fields:
        """`value` as an object."""
        if not isinstance(value, dict):
            raise damaged(path, "is no object")
        return cls(value, path)

    def has(self, name: str) -> bool:
        """Whether there is anything but null."""
        return self.data.get(name) is not None

    def object(self, name: str) -> Fields:
        """An object."""
        return Fields.of(self.data.get(name), self._at(name))

    def items(self, name: str, most: int) -> list[Any]:
        """A list of up to `most` values; empty where there is none."""
        found = self.data.get(name, [])
        if not isinstance(found, list) or len(found) > most:
            raise self.wrong(name, f"is no list of up to {most:,} values")
        return found

    def objects(self, name: str, most: int) -> list[Fields]:
        """A list of up to `most` objects."""
        return [Fields.of(each, f"{self._at(name)}[{at}]") for at, each in enumerate(self.items(name, most))]

    def text(self, name: str, longest: int = LONGEST_NAME) -> str:
        """A text; empty where there is none."""
        return self._text(name, self.data.get(name, ""), longest)

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """A list of up to `most` texts."""
        return tuple(self._text(name, each, LONGEST_TEXT) for each in self.items(name, most))

    def number(self, name: str, low: float = 0.0, high: float = HIGHEST) -> float:
        """A finite number from `low` to `high`."""
        return self._number(name, self.data.get(name), low, high)

    def known(self, name: str, low: float = 0.0, high: float = HIGHEST) -> float:
        """A number as `number` reads it, NaN where there is none: that is how NaN is written."""
        return self.number(name, low, high) if self.has(name) else math.nan

    def numbers(self, name: str, most: int, low: float = 0.0, high: float = HIGHEST) -> tuple[float, ...]:
        """A list of up to `most` finite numbers."""
        return tuple(self._number(name, each, low, high) for each in self.items(name, most))

    def whole(self, name: str, low: int = 0, high: int = LARGEST) -> int:
        """A whole number from `low` to `high`."""
        return self._whole(name, self.data.get(name), low, high)

    def wholes(self, name: str, most: int, low: int = 0, high: int = LARGEST) -> tuple[int, ...]:
        """A list of up to `most` whole numbers."""
        return tuple(self._whole(name, each, low, high) for each in self.items(name, most))

    def spans(self, name: str, end: int) -> tuple[Span, ...]:
        """Half-open ranges within [0, `end`), rising and apart."""
        found, last = list[Span](), 0
        for each in self.items(name, end):
            if not isinstance(each, list) or len(each) != 2:
                raise self.wrong(name, "holds something that is no range")
            first = self._whole(name, each[0], last, end)
            last = self._whole(name, each[1], first + 1, end)
            found.append((first, last))
        return tuple(found)

    def flag(self, name: str) -> bool:
        """True or false; false where there is none."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(name, "is neither true nor false")
        return value

    def wrong(self, name: str, what: str) -> FileError:
        """The error that field `name` is not as it should be."""
        return damaged(self._at(name), what)

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _text(self, name: str, value: Any, longest: int) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise self.wrong(name, f"is no text of up to {longest:,} characters")
        return value

    def _number(self, name: str, value: Any, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(name, f"is no number from {low:g} to {high:g}")
        return float(value)

    def _whole(self, name: str, value: Any, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(name, f"is no whole number from {low:,} to {high:,}")
        return value


def damaged(path: str, what: str) -> FileError:
    """The error that what stands at `path` is not as it should be."""
    where = path[-_SHOWN:] or "what it holds"
    return FileError(f"The file is damaged ({where} {what}): give it as it was saved.")
