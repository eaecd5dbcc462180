"""A page in a process of its own as a public host would run it: a profile with its limits, JSON logs, strangers.

Run as `python -m tests.harden.public FOLDER PORT [LIMITS]`, which is what `PublicServer` does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.harden.server import Server


class PublicServer(Server):
    """A public page on a free port, with `limits` in place of the usual ones."""

    def __init__(self, folder: Path, port: int | None = None, **limits: int) -> None:
        self.limits = limits
        super().__init__(folder, port)

    @property
    def program(self) -> list[str]:
        asked = [str(self.folder), str(self.port), json.dumps(self.limits)]
        return [sys.executable, "-m", "tests.harden.public", *asked]

    def said(self) -> str:
        """All that the page has written to standard output and standard error."""
        return (self.folder / "server.log").read_text(errors="replace")


@contextmanager
def public_server(**limits: int) -> Iterator[PublicServer]:
    """A public page that is up, and down again afterwards."""
    with TemporaryDirectory(prefix="harden-", ignore_cleanup_errors=True) as folder:
        server = PublicServer(Path(folder), **limits)
        try:
            server.wait()
            yield server
        finally:
            server.stop()


def main(folder: str, port: str, limits: str = "{}") -> None:
    from sliminfer.documents.sandbox import keep_to_itself
    from sliminfer.hosting.logs import log_as_json
    from tests.harden.pulse import Pulse
    from tests.hosting.public_page import tiny_profile
    from tests.page.serving import write_examples
    from viz.page.closing import serve_until_told
    from viz.page.folders import private_folder
    from viz.page.serve import open_site, serve
    from viz.page.start import FOLDER

    log_as_json()
    os.environ["GRADIO_TEMP_DIR"] = private_folder(FOLDER)
    model = str(Path(folder) / "model")
    profile = tiny_profile(model, **{"prompt_tokens": 4096, "new_tokens": 16} | json.loads(limits))
    site = open_site(model, "auto", "float32", "paper", write_examples(Path(folder)), profile)
    keep_to_itself()
    page = serve(site, "127.0.0.1", int(port), profile, chores=[Pulse(Path(folder) / "pulse.json").beat])
    serve_until_told(site, page, "up")


if __name__ == "__main__":
    main(*sys.argv[1:])
