"""Uploads turned into text: bytes and a file name in, a `Document` or one clear `DocumentError` out.

Nothing here imports torch or transformers, so the worker process of `parse_document_safely` starts fast.
"""

from sliminfer.documents.document import Document, DocumentLimits
from sliminfer.documents.kinds import ACCEPTED_SUFFIXES
from sliminfer.documents.parse import parse_document
from sliminfer.documents.safely import load_document, parse_document_safely

__all__ = [
    "ACCEPTED_SUFFIXES",
    "Document",
    "DocumentLimits",
    "load_document",
    "parse_document",
    "parse_document_safely",
]
