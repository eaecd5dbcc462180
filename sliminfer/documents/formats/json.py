"""JSON as it stands, but for escapes: text in them is written out, so that a model can read it."""

import json
import re
from functools import partial

from sliminfer.documents.formats.plain import as_text
from sliminfer.documents.kind import Kind
from sliminfer.documents.text import clean

# Escapes after an even number of backslashes, all of which stand for themselves.
_ESCAPES = re.compile(r"(?<!\\)((?:\\\\)*+)((?:\\u[0-9a-fA-F]{4})+)")


def _readable(text: str) -> str:
    return clean(_ESCAPES.sub(_unescaped, text))


def _unescaped(escape: re.Match[str]) -> str:
    """A run of `\\uXXXX` as the characters it stands for, unless JSON needs them escaped."""
    characters: str = json.loads(f'"{escape[2]}"')
    readable = characters.isprintable() and not set(characters) & {'"', "\\"}
    return escape[1] + characters if readable else escape[0]


JSON = Kind("json", "JSON", (".json", ".jsonl", ".geojson"), partial(as_text, polish=_readable))
