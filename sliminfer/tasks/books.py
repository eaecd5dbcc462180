"""Running text to plant facts in and to quote from: books, some of them held out of training."""

from __future__ import annotations

import lzma
from pathlib import Path

from sliminfer.errors import DocumentError

# One book in sixteen is never trained on: quotations of unseen text are measured on those.
HELDOUT_BOOKS = 16


def read_books(path: Path) -> list[str]:
    """The texts of a folder of .txt files, or of one .txt or .xz file with form feeds between books."""
    if path.is_dir():
        books = [each.read_text(encoding="utf-8") for each in sorted(path.glob("*.txt"))]
    elif path.suffix == ".xz":
        books = lzma.decompress(path.read_bytes()).decode("utf-8").split("\f")
    elif path.is_file():
        books = path.read_text(encoding="utf-8").split("\f")
    else:
        books = []
    books = [book.strip() for book in books if book.strip()]
    if not books:
        raise DocumentError(f"No text in {path}: give a folder of .txt files, a .txt file or an .xz file.")
    return books


def split_books(books: list[str]) -> tuple[list[str], list[str]]:
    """Books for training, and those held out for evaluation (all are both if there are only a few)."""
    if len(books) < HELDOUT_BOOKS:
        return books, books
    heldout = [book for index, book in enumerate(books) if index % HELDOUT_BOOKS == HELDOUT_BOOKS // 2]
    return [book for index, book in enumerate(books) if index % HELDOUT_BOOKS != HELDOUT_BOOKS // 2], heldout
