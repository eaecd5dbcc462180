"""What `guided` lets atheris call: one file through the parser, with the project's parser and pypdf instrumented."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["sliminfer.documents", "pypdf", "bs4"]):
    import bs4  # noqa: F401 - the parser imports both only where it needs them
    import pypdf  # noqa: F401

    from sliminfer.documents import parse_document

from sliminfer.errors import DocumentError
from tests.harden.fuzz_documents import LIMITS, fault_in
from tests.harden.guided import NAMES


def read(data: bytes) -> None:
    """Parse a file; its first byte chooses the name that it comes under. Raises AssertionError for a fault."""
    if not data:
        return
    try:
        document = parse_document(data[1:], NAMES[data[0] % len(NAMES)], LIMITS)
    except DocumentError as refusal:
        fault = None if str(refusal).endswith(".") else f"odd message: {refusal}"
    else:
        fault = fault_in(document)
    if fault is not None:
        raise AssertionError(fault)


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
