"""PDF files, through pypdf."""

import io
import logging
from typing import TYPE_CHECKING

from sliminfer.documents.document import DocumentLimits
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.text import tidy
from sliminfer.errors import DocumentError, needs_extra

if TYPE_CHECKING:
    from pypdf import PdfReader

# pypdf reports every oddity of a file through this logger; what matters to a reader becomes a warning below.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def _parse(upload: Upload) -> Parsed:
    """Text with a blank line between pages, the page count, and warnings.

    Raises DocumentError for files that are encrypted, hold only images, have too many pages, or are broken, and
    where pypdf is not installed.
    """
    # Imported here because it takes 0.14 s, which a text file need not pay.
    try:
        import pypdf
    except ImportError as error:
        raise DocumentError(needs_extra(f"'{upload.name}' is a PDF, which", "pypdf", "documents")) from error

    name, limits = upload.name, upload.limits
    try:
        reader = pypdf.PdfReader(io.BytesIO(upload.data))
        if reader.is_encrypted and not _opens_without_password(reader):
            raise DocumentError(
                f"'{name}' is encrypted: remove its password, or print it to a new PDF, and upload that."
            )
        pages = len(reader.pages)
        if pages > limits.max_pages:
            raise DocumentError(
                f"'{name}' has {pages:,} pages and the limit is {limits.max_pages:,}: take the part you need."
            )
        texts, unreadable = _page_texts(reader, name, limits)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:
        raise DocumentError(
            f"'{name}' is a damaged PDF that cannot be read: open it in a PDF viewer, print it to a new PDF "
            "and upload that."
        ) from error
    silent = sum(not text.strip() for text in texts)
    if silent == pages:
        raise DocumentError(
            f"'{name}' holds no text, only images of its {pages} page{'s' * (pages != 1)}: "
            "run it through OCR and upload the result."
        )
    warnings = []
    if unreadable:
        warnings.append(f"{unreadable} of {pages} pages are damaged and were left out.")
    if silent > unreadable:
        warnings.append(f"{silent - unreadable} of {pages} pages hold no text (blank or images).")
    text, starts = _joined([tidy(text) for text in texts])
    return Parsed(text, pages=pages, warnings=tuple(warnings), page_starts=starts)


def _joined(pages: list[str]) -> tuple[str, tuple[int, ...]]:
    """The pages with a blank line between them, and where each begins; one without text begins where the next does."""
    text, starts = "", []
    for page in pages:
        text += "\n\n" if text and page else ""
        starts.append(len(text))
        text += page
    return text, tuple(min(start, len(text)) for start in starts)


def _marked(upload: Upload) -> bool:
    # Readers accept up to 1,024 bytes of something else before the header; a text may just be about PDFs.
    return b"%PDF-" in upload.data[: 1024 if upload.named in (None, PDF) else 8]


def _opens_without_password(reader: "PdfReader") -> bool:
    """Many files are encrypted only to forbid printing; those open with the empty password."""
    from pypdf.errors import PyPdfError

    try:
        return bool(reader.decrypt(""))
    except (PyPdfError, NotImplementedError, ValueError):
        return False


def _page_texts(reader: "PdfReader", name: str, limits: DocumentLimits) -> tuple[list[str], int]:
    texts: list[str] = []
    unreadable = characters = 0
    for page in reader.pages:
        try:
            texts.append(page.extract_text())
        except MemoryError:
            raise
        except Exception:
            texts.append("")
            unreadable += 1
        characters += len(texts[-1])
        if characters > limits.max_characters:
            raise DocumentError(
                f"'{name}' holds more than {limits.max_characters:,} characters: take the part you need."
            )
    return texts, unreadable


PDF = Kind("pdf", "PDF", (".pdf",), _parse, mark=_marked, late=("pypdf",))
