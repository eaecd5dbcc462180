"""The page's functions for programs: typed, documented endpoints for `gradio_client`, HTTP and MCP.

Here are those that belong to no tab, and what those of the tabs share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from sliminfer.documents import parse_document_safely
from sliminfer.errors import DocumentError, SlimError
from viz.page.arguments import typed
from viz.page.asking import beats
from viz.page.compat import upload_folder
from viz.page.session import ResultStore
from viz.page.site import Site
from viz.page.stream import READERS, READING_QUEUE

T = TypeVar("T")

MOST_TOKENS = 10_000_000  # of a prompt that anybody may ask about
STOPPED = "The page stopped this before its end: call again."


def add(site: Site) -> None:
    """Add the endpoints /read_document and /models to the page being built."""

    def read_document(file: gr.FileData) -> dict[str, Any]:
        """The text of an uploaded file: PDF, Office, OpenDocument, RTF, EPUB, HTML, a notebook, code or plain text.

        Args:
            file: the upload.

        Returns:
            text, name, kind, encoding, pages, characters, tokens, and warnings about what was lost on the way.
        """
        try:
            data, name = uploaded(file, site.upload_limit)
            document = parse_document_safely(data, name, site.document_limits)
        except SlimError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return {
            "text": document.text,
            "name": document.name,
            "kind": document.kind,
            "encoding": document.encoding,
            "pages": document.pages,
            "characters": document.characters,
            "tokens": site.count_tokens(document.text),
            "warnings": list(document.warnings),
        }

    def models(tokens: int = 4096) -> list[dict[str, Any]]:
        """The models on offer, with the memory a prompt takes and why a model cannot run here, if so.

        Args:
            tokens: prompt length in tokens.

        Returns:
            One entry a model: name, layers, parameters, context in tokens, bytes needed, and fault (empty if
            it fits).
        """
        if not 0 <= tokens <= MOST_TOKENS:
            told = f"tokens must lie between 0 and {MOST_TOKENS:,}: give another number."
            raise gr.Error(told, print_exception=False)
        return [
            {
                "name": offer.name,
                "layers": site.known(offer.name).shape.layers,
                "parameters": site.known(offer.name).shape.params,
                "context": site.known(offer.name).shape.context,
                "bytes": offer.need,
                "fault": offer.fault,
            }
            for offer in site.offers(tokens)
        ]

    gr.api(typed(read_document), concurrency_id=READING_QUEUE, concurrency_limit=READERS)
    gr.api(typed(models), queue=False)


def uploaded(file: Any, most: int) -> tuple[bytes, str]:
    """Bytes and name of an uploaded file, at most a byte over the limit. Raises DocumentError for anything else.

    Gradio hands what a plain endpoint gets on as the caller wrote it.
    """
    told = DocumentError("Only an uploaded file can be read: upload it first.")
    if not isinstance(file, dict) or not isinstance(file.get("path"), str):
        raise told
    try:
        path = Path(file["path"]).resolve()
        if not path.is_relative_to(upload_folder()):
            raise told
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except (OSError, ValueError) as error:  # gone by now, a folder, or no name of a file at all
        raise told from error
    return data, str(file.get("orig_name") or path.name)


def watched(site: Site, start: Callable[[], Iterator[T]]) -> Iterator[tuple[T, ...]]:
    """The items of `start()`, computed on an engine's thread, in handfuls of what came since the last one.

    A handful, be it empty, comes at least every quarter of a second: Gradio closes an endpoint whose client has
    gone or cancelled between two of them, and that stops the work at its next item.
    """
    call = ResultStore.new_key()  # a client may have several calls under way, which must not stop each other
    for beat in beats(site, call, site.stops.begin(call), start):
        yield beat.items
