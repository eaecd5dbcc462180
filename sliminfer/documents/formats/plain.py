"""Text as it stands: plain text, and formats that people read as their source."""

from collections.abc import Callable

from sliminfer.documents.encoding import decode, is_utf
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.text import clean
from sliminfer.errors import DocumentError


def as_text(upload: Upload, polish: Callable[[str], str] = clean, markup: bool = False) -> Parsed:
    """The upload's bytes decoded, then polished. `markup`: the bytes may name their own encoding, as HTML does.

    Raises DocumentError for bytes that are no text, or that may be none: where the file's name says nothing, only
    UTF is proof.
    """
    decoded = decode(upload.data, markup=markup)
    if decoded is None:
        raise DocumentError(f"'{upload.name}' is binary, not text: upload a text, {upload.advice} file.")
    if upload.named is None and not is_utf(decoded):
        raise DocumentError(
            f"The type of '{upload.name}' is not known: save it as .txt in UTF-8, or upload {upload.advice}."
        )
    damage = f"Some bytes do not fit {decoded.encoding}; they show as \ufffd."
    return Parsed(polish(decoded.text), decoded.encoding, warnings=(damage,) if decoded.damaged else ())


TEXT = Kind("text", "plain text", (".txt", ".text", ".log", ".srt", ".vtt", ".org", ".adoc"), as_text)
MARKDOWN = Kind("markdown", "Markdown", (".md", ".markdown"), as_text)
RST = Kind("rst", "reStructuredText", (".rst",), as_text)
CSV = Kind("csv", "CSV", (".csv", ".tsv"), as_text)
