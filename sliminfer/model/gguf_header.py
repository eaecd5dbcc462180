"""The header of a GGUF file, read with suspicion: a damaged, cut off or foreign file is refused in one sentence.

A file is little-endian: magic, version, two counts, the metadata as typed values by key, then a table of tensors, and
after an aligned gap their data (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from sliminfer.errors import ModelError, needs_extra

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# Lists of strings that are worth keeping; merges and scores belong to the tokenizer, which reads them itself.
_KEPT_LISTS = ("tokenizer.ggml.tokens",)
_MOST_DIMENSIONS = 4
_LEAST_ENTRY = 8 + 4 + 4 + 8  # bytes of a tensor's entry without name and dimensions


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a file: its name there, `shape` in torch's order, format such as "Q4_K", and place in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    size: int


@dataclass(frozen=True)
class GgufHeader:
    """What a file says of itself: metadata by key (of the lists of strings only the vocabulary), and its tensors."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    @property
    def architecture(self) -> str:
        """The model's architecture by llama.cpp's name."""
        return str(self.metadata["general.architecture"])

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors as they are packed."""
        return sum(tensor.size for tensor in self.tensors.values())


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of the GGUF file at `path`; raises ModelError, one sentence, for any file that is not whole and sound.

    Needs the package gguf for the sizes of formats.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (struct.error, ValueError, ArithmeticError, TypeError) as error:
        raise ModelError(f"{path.name} is damaged or cut off: download it again.") from error


def require_gguf() -> Any:
    """The package gguf; raises ModelError where it is not installed."""
    try:
        import gguf
    except ImportError as error:
        raise ModelError(needs_extra("A GGUF file", "gguf", "gguf")) from error
    return gguf


class _Reader:
    """Walks through one file; whatever does not fit into it raises struct.error or ValueError."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def header(self) -> GgufHeader:
        if self.data[:4] != _MAGIC:
            raise ModelError(f"{self.path.name} is no GGUF file: its first bytes are not {_MAGIC.decode()}.")
        self.at = 4
        version = self._number("I")
        if version not in _VERSIONS:
            raise ModelError(
                f"{self.path.name} is of GGUF version {version}, which is not read here: convert the model again "
                f"with a current llama.cpp, little-endian."
            )
        tensors, entries = self._number("Q"), self._number("Q")
        metadata: dict[str, Any] = {}
        for _ in range(self._fits(entries, 8 + 4 + 1)):
            key = self._string()
            metadata[key] = self._value(self._number("I"), key in _KEPT_LISTS)
        if not isinstance(metadata.get("general.architecture"), str):
            raise ValueError("no architecture")
        table = [self._tensor() for _ in range(self._fits(tensors, _LEAST_ENTRY))]
        alignment = metadata.get("general.alignment", 32)
        start = -(-self.at // alignment) * alignment
        return GgufHeader(self.path, metadata, self._placed(table, start))

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self._string(), self._number("I")
        if not 0 < dimensions <= _MOST_DIMENSIONS:
            raise ValueError(f"{dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]  # a file counts from the fastest dimension
        return name, shape, self._number("I"), self._number("Q")

    def _placed(self, table: list[tuple[str, tuple[int, ...], int, int]], start: int) -> dict[str, GgufTensor]:
        gguf = require_gguf()
        tensors: dict[str, GgufTensor] = {}
        for name, shape, number, offset in table:
            if number not in set(gguf.GGMLQuantizationType):
                raise ModelError(
                    f"{self.path.name} holds weights in format {number}, which the installed package gguf does not "
                    f"know: it may be damaged, or newer than the package."
                )
            kind = gguf.GGMLQuantizationType(number)
            values, size = gguf.GGML_QUANT_SIZES[kind]
            length = prod(shape) // values * size
            if name in tensors or 0 in shape or shape[-1] % values or start + offset + length > len(self.data):
                raise ValueError(f"{name} has no place in the file")
            tensors[name] = GgufTensor(name, shape, kind.name, start + offset, length)
        return tensors

    def _value(self, kind: int, keep: bool) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise ValueError(f"a value of kind {kind}")
        kind, count = self._number("I"), self._number("Q")
        if kind in _NUMBERS:
            form = f"<{self._fits(count, struct.calcsize('<' + _NUMBERS[kind]))}{_NUMBERS[kind]}"
            values = struct.unpack_from(form, self.data, self.at)
            self.at += struct.calcsize(form)
            return values
        if kind != _STRING:
            raise ValueError(f"a list of kind {kind}")
        self._fits(count, 8)
        if keep:
            return tuple(self._string() for _ in range(count))
        for _ in range(count):
            length = self._fits(self._number("Q"), 1)
            self.at += length
        return None

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def _string(self) -> str:
        length = self._fits(self._number("Q"), 1)
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8")

    def _fits(self, count: int, size: int) -> int:
        """`count`, if so many things of at least `size` bytes can still come; keeps a damaged count from running on."""
        if count * size > len(self.data) - self.at:
            raise ValueError(f"{count} of {size} bytes")
        return count
