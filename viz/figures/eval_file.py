"""The result file of `eval` or `sweep`, checked before anything is made of it, whoever wrote it."""

from __future__ import annotations

from typing import Any

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep
from sliminfer.schedule.reading import SparseReading
from viz.figures.fields import LONGEST_TEXT, Fields

MOST_ROWS = 5_000
MOST_METHODS = 20  # names of methods; more colours and shapes nobody tells apart
MOST_CONTEXTS = 32
LONGEST_S = 1e9  # seconds
_LONGEST_PROMPT = 2**31


def checked_eval(data: Any) -> dict[str, Any]:
    """`data`, of which every field that is read in `stored` is of its kind and within bounds. Raises FileError."""
    told = Fields.of(data)
    told.text("model")
    told.text("device")
    for name in ("examples", "processes"):
        if name in told.data:
            told.whole(name)
    if "provenance" in told.data:
        origin = told.object("provenance")
        origin.text("cpu")
        if "cpu_threads" in origin.data:
            origin.whole("cpu_threads")
    rows = told.objects("results", MOST_ROWS)
    for row in rows:
        _check_row(row)
    for variant in told.objects("variants", MOST_ROWS):
        _check_variant(variant)
    if not rows or not told.text("model"):
        raise told.wrong("results", "holds no result of a named model")
    if len({row.data["method"] for row in rows}) > MOST_METHODS:
        raise told.wrong("results", f"holds more than {MOST_METHODS} methods")
    if len({row.data["context"] for row in rows}) > MOST_CONTEXTS:
        raise told.wrong("results", f"holds more than {MOST_CONTEXTS} lengths")
    return dict(told.data)


def _check_row(row: Fields) -> None:
    for name in ("suite", "method", "variant"):
        if not row.text(name):
            raise row.wrong(name, "is empty")
    row.whole("context", 1, _LONGEST_PROMPT)
    for name, high in (("accuracy", 1.0), ("ttft_s", LONGEST_S)):
        if name not in row.data:
            raise row.wrong(name, "is missing")
        row.known(name, 0, high)
    row.known("prompt_kv_bytes")
    row.known("flops_target")


def _check_variant(variant: Fields) -> None:
    variant.text("variant")
    variant.whole("context", 1, _LONGEST_PROMPT)
    config = variant.object("config")
    try:
        for step in config.objects("steps", MOST_ROWS):
            PruneStep(step.data.get("layer"), step.data.get("keep"))  # type: ignore[arg-type]
        if config.text("reading", LONGEST_TEXT) == "sparse":
            SparseReading(**config.object("reading_options").data)
    except (ConfigError, TypeError, ValueError) as error:
        raise variant.wrong("config", "cannot be run") from error
