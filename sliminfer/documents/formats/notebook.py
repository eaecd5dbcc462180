"""Jupyter notebooks by their cells: prose as it stands, code in fences, and the text that the code printed."""

import json
from typing import Any

from sliminfer.documents.formats.plain import as_text
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.text import clean
from sliminfer.errors import DocumentError


def _parse(upload: Upload) -> Parsed:
    """Cells apart by a blank line. Pictures and other outputs are left out. Raises DocumentError."""
    plain = as_text(upload)
    try:
        notebook = json.loads(plain.text)
        sheets = notebook.get("worksheets") or [notebook]  # before version 4 cells stood in sheets
        cells = [cell for sheet in sheets for cell in sheet.get("cells", [])]
        language = str(notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python"))
        texts = [text for cell in cells for text in _of_cell(cell, language)]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DocumentError(f"'{upload.name}' is not a notebook inside, or it is damaged: save it again.") from error
    return Parsed(clean("\n\n".join(text for text in texts if text.strip())), plain.encoding, warnings=plain.warnings)


def _of_cell(cell: dict[str, Any], language: str) -> list[str]:
    source = _joined(cell.get("source", cell.get("input", ""))).strip("\n")
    if cell.get("cell_type") != "code" or not source:
        return [source]
    return [_fenced(source, language), *(_fenced(text, "") for text in map(_printed, cell.get("outputs", [])) if text)]


def _printed(output: dict[str, Any]) -> str:
    """The text of one output of a code cell; of an error its name and message."""
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename', '')}: {output.get('evalue', '')}"
    data = output.get("data", {})
    return _joined(output.get("text", data.get("text/plain", ""))).strip("\n")


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(str(line) for line in source)


def _fenced(text: str, language: str) -> str:
    fence = "```"
    while fence in text and len(fence) < 10:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


NOTEBOOK = Kind("notebook", "notebook", (".ipynb",), _parse)
