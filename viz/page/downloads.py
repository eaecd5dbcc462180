"""The downloads: a file is made when its button is pressed, and goes to the browser that asked and nowhere else.

Gradio's own download button serves a file from a folder, under an address that works for everyone. Here the bytes come
back as the answer to the click, and the browser makes a file of them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from sliminfer.errors import SlimError
from viz.page.desk import QUIET, Desk
from viz.page.panes import status
from viz.page.session import Visitor
from viz.page.stream import READERS, READING_QUEUE
from viz.page.tab import Tab, Updates
from viz.page.takeaway import KINDS, Kind, Takeaway, can_be_taken

SAVE_JS = """(file) => {
  if (!file) return;
  const bytes = Uint8Array.from(atob(file.bytes), (each) => each.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], { type: file.type }));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}"""


@dataclass(frozen=True)
class Downloads:
    """A button for each of `KINDS`, and what carries a file to the browser."""

    buttons: tuple[gr.Button, ...]
    carrier: gr.JSON

    def offered(self, visitor: Visitor) -> Updates:
        """The buttons, greyed where the visitor has nothing to take away."""
        can = can_be_taken(visitor)
        return {button: gr.Button(interactive=can) for button in self.buttons}

    def wire(self, desk: Desk, tabs: Sequence[type[Tab]]) -> None:
        """Make a file on each click, beside the runs, and hand it to the browser; `tabs` have more figures for it."""
        desk.after_run(self.offered, [], list(self.buttons))
        for button, kind in zip(self.buttons, KINDS, strict=True):
            made = button.click(
                partial(self.made, desk.bar.status, kind, tabs), desk.visitor, [self.carrier, desk.bar.status],
                concurrency_id=READING_QUEUE, concurrency_limit=READERS, **QUIET,
            )  # fmt: skip
            made.success(None, self.carrier, None, js=SAVE_JS, **QUIET)

    def made(self, line: gr.HTML, kind: Kind, tabs: Sequence[type[Tab]], visitor: Visitor) -> Updates:
        """The file of that kind, or on the status line why there is none."""
        try:
            content = kind.make(Takeaway.of(visitor, tabs))
        except SlimError as error:
            return {self.carrier: None, line: status(str(error), "error")}
        return {self.carrier: carried(kind, content)}


def build() -> Downloads:
    """The buttons, greyed until there is a run."""
    buttons = tuple(
        gr.Button(kind.label, size="sm", interactive=False, min_width=100, scale=0, elem_id=f"take-{kind.ending}")
        for kind in KINDS
    )
    return Downloads(buttons, gr.JSON(visible=False, elem_id="taken"))


def carried(kind: Kind, content: bytes) -> dict[str, Any]:
    """A file as plain data."""
    return {"name": kind.name, "type": kind.type, "bytes": base64.b64encode(content).decode("ascii")}
