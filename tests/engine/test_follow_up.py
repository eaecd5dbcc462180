"""A follow-up answers like a fresh run, reads once, and reads again what its shelf has let go of."""

from __future__ import annotations

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Side
from sliminfer.engine.follow_up import follow_up
from sliminfer.engine.questions import DocumentRead
from sliminfer.engine.reading import Reading
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import SlimConfig
from tests.tiny import tiny_loaded

DOCUMENT = "the lamp of the north tower was lit at nine and the keeper wrote it down. " * 30


@pytest.fixture(scope="module")
def engine() -> SlimEngine:
    return SlimEngine(tiny_loaded())


def asked(engine: SlimEngine, side: Side, keeps: bool = True) -> list[int]:
    """How many tokens were read for each of three questions, whose answers are those of fresh runs."""
    held: list[Reading] = []
    history: tuple[tuple[str, str], ...] = ()
    read = []
    for question in ("When was the lamp lit?", "Who wrote it down?", "Where?"):
        config = SlimConfig.preset("paper", engine.loaded.layers)
        request = RunRequest(DOCUMENT, question, config, 6, history=history)
        items = list(follow_up(engine, request, held[-1] if held and keeps else None, held.append, side))
        read.append(sum(item.tokens for item in items if isinstance(item, DocumentRead)))
        events = [item for item in items if not isinstance(item, DocumentRead)]
        found = getattr(RunResult.of(events), side)
        fresh = getattr(RunResult.of(engine.run(request, side)), side)
        assert found.error == ""
        assert found.metrics.token_ids == fresh.metrics.token_ids
        history = (*history, (question, found.text))
    return read


@pytest.mark.parametrize("side", ["full", "pruned"])
def test_a_document_is_read_once_for_all_its_questions(engine: SlimEngine, side: Side) -> None:
    first, *others = asked(engine, side)
    assert first > 200
    assert others == [0, 0]


def test_what_was_let_go_is_read_again(engine: SlimEngine) -> None:
    assert all(tokens > 200 for tokens in asked(engine, "pruned", keeps=False))


def test_a_method_that_no_reading_serves_is_asked_afresh(engine: SlimEngine) -> None:
    held: list[Reading] = []
    config = SlimConfig.preset("paper", engine.loaded.layers)
    request = RunRequest(DOCUMENT, "When?", config.with_changes(method="gemfilter", steps=config.steps[:1]), 4)
    items = list(follow_up(engine, request, None, held.append))
    assert not any(isinstance(item, DocumentRead) for item in items)
    assert RunResult.of(items).pruned.metrics is not None  # type: ignore[arg-type]
    assert held == []
