"""What a parsed upload is, and the limits it is parsed under."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from sliminfer.errors import DocumentError

MIB = 1 << 20
_NAME_CHARACTERS = 80


@dataclass(frozen=True)
class Document:
    """The text of one upload.

    text: Unicode with `\\n` line ends and no control character but `\\n` and `\\t`.
    name: the file's base name, safe to show (no path, no control character, at most 80 characters).
    kind: text, markdown, rst, html, pdf, docx, pptx, xlsx, odt, rtf, epub, csv, notebook, json or code.
    encoding: codec the bytes were decoded with; None for formats that say it themselves, such as pdf and docx.
    pages: pages of a PDF, or slides of a show; else None.
    characters: len(text).
    warnings: sentences about what was lost or guessed on the way.
    page_starts: where each page begins in the text, for formats that have pages.
    """

    text: str
    name: str
    kind: str
    encoding: str | None
    pages: int | None
    characters: int
    warnings: tuple[str, ...] = ()
    page_starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class DocumentLimits:
    """Bounds on one parse.

    max_bytes: size of the upload.
    max_characters: length of the text that comes out; 4 million is about a million tokens.
    max_pages: pages of a PDF, slides of a show.
    max_expanded_bytes: bytes unpacked from the parts of a zip, such as a docx, that are read.
    max_elements: elements of the XML in them.
    seconds, memory_bytes: wall and CPU time, and address space; enforced by `parse_document_safely` only.
    """

    max_bytes: int = 32 * MIB
    max_characters: int = 4_000_000
    max_pages: int = 2_000
    max_expanded_bytes: int = 128 * MIB
    max_elements: int = 2_000_000
    seconds: float = 30.0
    memory_bytes: int = 1024 * MIB

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"DocumentLimits.{name} must be positive, not {value}")


DEFAULT_LIMITS = DocumentLimits()


def check_size(size: int, name: str, limits: DocumentLimits) -> None:
    """Raise DocumentError for an upload of `size` bytes over the limit."""
    if size > limits.max_bytes:
        raise DocumentError(
            f"'{name}' is {size / MIB:.1f} MiB and the limit is {limits.max_bytes / MIB:g} MiB: take the part you need."
        )


def display_name(filename: str) -> str:
    """The base name of `filename` without control characters, shortened in the middle to 80 characters."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", "", name).strip()
    if len(name) > _NAME_CHARACTERS:
        name = f"{name[: _NAME_CHARACTERS - 21]}…{name[-20:]}"
    return name or "document"
