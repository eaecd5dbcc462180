"""One upload to one `Document`, in this process."""

import json
import re

from sliminfer.documents.archive import Archive
from sliminfer.documents.document import DEFAULT_LIMITS, Document, DocumentLimits, check_size, display_name
from sliminfer.documents.encoding import Decoded, decode, is_utf
from sliminfer.documents.epub import epub_to_text
from sliminfer.documents.kinds import kind_of
from sliminfer.documents.markup import html_to_text
from sliminfer.documents.pdf import pdf_to_text
from sliminfer.documents.text import clean, tidy
from sliminfer.documents.word import docx_to_text
from sliminfer.errors import DocumentError

# Escapes after an even number of backslashes, all of which stand for themselves.
_JSON_ESCAPES = re.compile(r"(?<!\\)((?:\\\\)*+)((?:\\u[0-9a-fA-F]{4})+)")


def parse_document(data: bytes, filename: str, limits: DocumentLimits = DEFAULT_LIMITS) -> Document:
    """The text of an upload.

    The content decides over the file name: a PDF named .txt is read as a PDF. Size, page and expansion limits
    hold here; time and memory only in `parse_document_safely`, which is for files of strangers.
    Raises DocumentError, one sentence with the remedy, whatever the bytes are.
    """
    name = display_name(filename)
    check_size(len(data), name, limits)
    if not data:
        raise DocumentError(f"'{name}' is empty: choose another file.")
    kind, known = kind_of(data, name)
    encoding: str | None = None
    pages: int | None = None
    warnings: tuple[str, ...] = ()
    if kind == "pdf":
        text, pages, warnings = pdf_to_text(data, name, limits)
    elif kind == "docx":
        text = docx_to_text(Archive(data, name, limits))
    elif kind == "epub":
        text, warnings = epub_to_text(Archive(data, name, limits), name)
    else:
        decoded = _decoded(data, name, kind, known)
        text, encoding = decoded.text, decoded.encoding
        if decoded.damaged:
            warnings = (f"Some bytes do not fit {encoding}; they show as \ufffd.",)
    text = _polished(text, kind)
    if not text.strip():
        raise DocumentError(f"'{name}' holds no text: choose another file.")
    if len(text) > limits.max_characters:
        raise DocumentError(
            f"'{name}' holds {len(text):,} characters and the limit is {limits.max_characters:,}: "
            "take the part you need."
        )
    return Document(text, name, kind, encoding, pages, len(text), warnings)


def _decoded(data: bytes, name: str, kind: str, known: bool) -> Decoded:
    decoded = decode(data, markup=kind in ("html", "code"))
    if decoded is None:
        raise DocumentError(f"'{name}' is binary, not text: upload a text, PDF, Word, EPUB or HTML file.")
    if not known and not is_utf(decoded):
        raise DocumentError(
            f"The type of '{name}' is not known: save it as .txt in UTF-8, or upload PDF, Word, EPUB or HTML."
        )
    return decoded


def _polished(text: str, kind: str) -> str:
    if kind == "html":
        return tidy(html_to_text(text))
    if kind in ("pdf", "docx", "epub"):
        return tidy(text)
    if kind == "json":
        text = _JSON_ESCAPES.sub(_unescaped, text)
    return clean(text)


def _unescaped(escape: re.Match[str]) -> str:
    """A run of `\\uXXXX` as the characters it stands for, unless JSON needs them escaped."""
    characters: str = json.loads(f'"{escape[2]}"')
    readable = characters.isprintable() and not set(characters) & {'"', "\\"}
    return escape[1] + characters if readable else escape[0]
