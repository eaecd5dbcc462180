"""Logs: one JSON object a line, and not a word of a visitor's."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.hosting.logs import FIELDS, log_as_json
from sliminfer.schedule.config import SlimConfig
from tests.tiny import tiny_loaded

SECRET = "Zanzibar-48213"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    log_as_json(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_run_leaves_its_figures_and_none_of_its_text(written: io.StringIO) -> None:
    engine = SlimEngine(tiny_loaded(layers=12))
    text, config = f"{SECRET} is the code. " * 50, SlimConfig.preset("paper", 12)
    for _ in engine.compare(RunRequest(text, f"What is {SECRET}?", config, max_new_tokens=2)):
        pass
    told = lines(written)
    assert [(line["event"], line["side"], line["outcome"]) for line in told] == [
        ("run", "full", "finished"),
        ("run", "pruned", "finished"),
    ]
    assert all(line["prompt_tokens"] and line["seconds"] for line in told)
    assert SECRET not in written.getvalue()


def test_an_error_is_told_by_kind_and_place_only(written: io.StringIO) -> None:
    try:
        raise KeyError(SECRET)
    except KeyError:
        logging.getLogger("sliminfer.test").exception("it failed")
        logging.getLogger("library").exception("request was %s", SECRET)
    ours, theirs = lines(written)
    assert ours["error"] == theirs["error"] == "KeyError"
    assert ours["event"] == "it failed"
    assert "test_logs.py" in str(ours["at"])
    assert SECRET not in written.getvalue()


def test_warnings_are_told_without_their_words(written: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"{SECRET} is out of range", stacklevel=1)
    [line] = lines(written)
    assert line["logger"] == "py.warnings"
    assert SECRET not in written.getvalue() + capsys.readouterr().err


def test_only_known_fields_are_written(written: io.StringIO) -> None:
    logging.getLogger("viz.test").warning("x", extra={"document": SECRET, "model": "demo"})
    (line,) = lines(written)
    assert line["model"] == "demo"
    assert "document" not in line
    assert "document" not in FIELDS
