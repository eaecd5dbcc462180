"""From the page's choices to a request for the engine, and from the engine back to beats for the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

from sliminfer.engine.request import RunRequest
from sliminfer.schedule.blocks import Span
from viz.page.controls import Controls
from viz.page.document_input import read_paste
from viz.page.part import or_first
from viz.page.proposals import place_of
from viz.page.session import Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.stream import Beat, on_thread, paced

T = TypeVar("T")


def asked(
    site: Site, controls: Controls, visitor: Visitor, pasted: str | None, values: tuple[Any, ...]
) -> tuple[Setup, RunRequest]:
    """The setup in `values` and the request it makes of the visitor's document. Raises SlimError.

    A pasted text becomes the visitor's document here, since it may never have lost the focus.
    """
    setup = controls.read(values)
    site.check_text(pasted or "", setup.question)
    known = site.known(setup.model)
    config = setup.config().where_seen(known.shape.seeing)
    config.check_model(known.shape.layers)
    if controls.source_of(values) == "Paste" and whole_text(visitor) != (pasted or ""):
        count, document = site.estimated_tokens, read_paste(pasted or "")
        taken = or_first(count, document, count(document.text), site.room(setup.model))
        visitor.read(taken, count(taken.document.text))
    example = site.example(setup.example)
    if visitor.document is None and example is not None:  # it was forgotten to make room
        visitor.document = example.document()
    suggestion = None if example is None else example.suggestion(setup.question)
    visitor.evidence = taken_of(visitor, suggestion.evidence) if suggestion is not None else ()
    visitor.expected = suggestion.answer if suggestion is not None else ""
    if example is None and visitor.document is not None:
        visitor.evidence = place_of(setup.question, visitor.document.text)
    request = RunRequest(
        document="" if visitor.document is None else visitor.document.text,
        question=setup.question,
        config=config,
        max_new_tokens=setup.max_new_tokens,
        temperature=setup.temperature,
        top_p=setup.top_p,
        seed=setup.seed,
        evidence=visitor.evidence,
        keep=visitor.hands.keep,
        drop=visitor.hands.drop,
    )
    site.holdings.note(visitor)
    return setup, request


def whole_text(visitor: Visitor) -> str | None:
    """The text of the document of which the visitor's is a part, or all; None where there is none."""
    if visitor.document is None:
        return None
    return visitor.document.text if visitor.taken is None else visitor.taken.whole.text


def taken_of(visitor: Visitor, evidence: tuple[Span, ...]) -> tuple[Span, ...]:
    """Where evidence of the whole document stands in the part that is read; what is left out is none."""
    if visitor.taken is None:
        return evidence
    moved = (visitor.taken.part.moved(span) for span in evidence)
    return tuple(span for span in moved if span is not None)


def beats(site: Site, session: str, flag: threading.Event, start: Callable[[], Iterator[T]]) -> Generator[Beat[T]]:
    """The items of `start()`, computed on the engine's thread and paced for the page, until `flag` is set.

    Whatever one click starts has one time limit, the host's for one request. Raises what `start` raises, and
    MemoryLimitError where it is overdue.
    """

    def work() -> Iterator[T]:
        with site.shelf.computing():
            yield from site.shelf.limits.within(start())

    try:
        yield from paced(on_thread(work, site.shelf.worker, flag))
    finally:
        site.stops.end(session, flag)
