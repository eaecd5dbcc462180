"""One upload to one `Document`, in this process."""

from sliminfer.documents.document import DEFAULT_LIMITS, Document, DocumentLimits, check_size, display_name
from sliminfer.documents.kinds import kind_of, upload_of
from sliminfer.errors import DocumentError


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
    upload = upload_of(data, name, limits)
    kind = kind_of(upload)
    parsed = kind.parse(upload)
    if not parsed.text.strip():
        raise DocumentError(f"'{name}' holds no text: choose another file.")
    if len(parsed.text) > limits.max_characters:
        raise DocumentError(
            f"'{name}' holds {len(parsed.text):,} characters and the limit is {limits.max_characters:,}: "
            "take the part you need."
        )
    told = (parsed.warnings, parsed.page_starts)
    return Document(parsed.text, name, kind.name, parsed.encoding, parsed.pages, len(parsed.text), *told)
