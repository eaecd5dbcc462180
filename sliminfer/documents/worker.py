"""The process that parses one upload of a stranger and then ends. Run by path, never imported.

Standard input: length-prefixed JSON {"paths", "filename", "limits"}, then the file's bytes.
Standard output: length-prefixed JSON, either {"error"} or the fields of `Document` without its text, both with
"missing", the layers of the sandbox that this host does not offer; then the text as UTF-8. JSON, because the parent
must not unpickle what a compromised worker says.
"""

import contextlib
import importlib
import json
import math
import os
import pkgutil
import resource
import struct
import sys
from pathlib import Path
from typing import Any

_MOST_FILES = 64
_PATIENCE = 5  # a third of a run's share of the processor, where both want it
# Loaded when a text first needs them: every codec, and what guesses among them.
_LATE = ("encodings", "charset_normalizer")


def main() -> None:
    stream = sys.stdin.buffer
    (size,) = struct.unpack(">I", stream.read(4))
    request = json.loads(stream.read(size))
    _restrict(request["limits"])
    home, paths = str(Path(__file__).resolve().parents[2]), request["paths"]
    # Where it is installed, home is site-packages, which must stay behind the standard library.
    sys.path[:] = paths if home in paths else [home, *paths]
    data = stream.read()
    _load(data, request["filename"], request["limits"])
    from sliminfer.documents.sandbox import confine

    missing = confine()
    answer, text = _parse(data, request["filename"], request["limits"])
    head = json.dumps(answer | {"missing": missing}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(head)) + head)
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _restrict(limits: dict[str, Any]) -> None:
    """Cap memory, CPU time and open files, and forbid writing files, dumping core and starting processes, for good;
    let runs go first."""
    os.nice(_PATIENCE)
    for what, amount in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, math.ceil(limits["seconds"])),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
    ):
        _, hard = resource.getrlimit(what)
        soft = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        # One second of CPU time between the limits, so that the worker ends by SIGXCPU, which says why.
        above = soft + (what == resource.RLIMIT_CPU)
        resource.setrlimit(what, (soft, above if hard == resource.RLIM_INFINITY else min(above, hard)))


def _load(data: bytes, filename: str, limits: dict[str, Any]) -> None:
    """Load all that parsing may need, since nothing can be opened any more once the process is confined."""
    from sliminfer.documents.document import DocumentLimits, display_name
    from sliminfer.documents.formats import KINDS
    from sliminfer.documents.kinds import upload_of
    from sliminfer.documents.parse import parse_document  # noqa: F401

    upload = upload_of(data, display_name(filename), DocumentLimits(**limits))
    packages = [name for kind in KINDS if kind.late and kind.may_be(upload) for name in kind.late]
    for name in (*_LATE, *packages):
        with contextlib.suppress(ImportError):  # the parser says what it misses
            package = importlib.import_module(name)
            for module in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda _: None):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module.name)


def _parse(data: bytes, filename: str, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from sliminfer.documents.document import DocumentLimits, display_name
    from sliminfer.documents.parse import parse_document
    from sliminfer.errors import DocumentError

    try:
        document = parse_document(data, filename, DocumentLimits(**limits))
        text = document.text.encode()
    except DocumentError as refusal:
        return {"error": str(refusal)}, b""
    except MemoryError:
        name = display_name(filename)
        return {"error": f"'{name}' needs too much memory: split it, or upload its text as .txt."}, b""
    return {field: value for field, value in vars(document).items() if field != "text"}, text


if __name__ == "__main__":
    main()
