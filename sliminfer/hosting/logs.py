"""Logs for a host: one JSON object a line, with what happened and how long it took, never what a visitor wrote."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import traceback
from typing import Any, TextIO

# What may stand in a line besides time, level and event; anything else that is handed over is left out.
FIELDS = ("model", "device", "profile", "side", "outcome", "prompt_tokens", "new_tokens", "seconds", "waiting", "port")


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON.

    Records of this project are written whole: their message is a constant of the code, its arguments are numbers and
    names. Of other libraries' records only the name, level and kind of error are kept, since their messages may
    quote a request. An error's own message is left out for the same reason: its kind and places are enough.
    """

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] in ("sliminfer", "viz")
        line: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if ours else "record of a library",
        }
        if ours:
            line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["at"] = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json(stream: TextIO | None = None, level: int = logging.INFO) -> logging.Handler:
    """Send every log record of the process to `stream` (standard error by default) as JSON lines.

    Returns the handler, which replaces those that were there.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)  # they quote values, and would go to standard error as they are
    for name in ("sliminfer", "viz"):
        logging.getLogger(name).setLevel(level)
    return handler
