"""Run, Stop and the status line, as every study of the page uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from viz.figures.theme import script
from viz.page.panes import status

# On a phone everything but document and question is behind this button; elsewhere it is not there.
DRAWER = '<button type="button" aria-expanded="false">Settings</button>'


@dataclass(frozen=True)
class RunBar:
    """The two buttons and the line."""

    run: gr.Button
    stop: gr.Button
    status: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.run, self.stop, self.status]

    def busy(self, words: str) -> dict[Any, Any]:
        """Updates while a run is under way."""
        return {
            self.run: gr.Button(interactive=False),
            self.stop: gr.Button(interactive=True),
            self.status: status(words, "busy"),
        }

    def idle(self) -> dict[Any, Any]:
        """Updates of the buttons once no run is under way."""
        return {self.run: gr.Button(interactive=True), self.stop: gr.Button(interactive=False)}


def build(words: str) -> RunBar:
    """Lay the bar out, with `words` in the status line."""
    with gr.Row(elem_id="run-bar"):
        run = gr.Button("Run", variant="primary", elem_id="run", min_width=110, scale=0, interactive=False)
        stop = gr.Button("Stop", interactive=False, elem_id="stop", min_width=90, scale=0)
        gr.HTML(DRAWER, elem_id="drawer", apply_default_css=False, js_on_load=script("drawer"))
        line = gr.HTML(status(words), elem_id="status", apply_default_css=False, js_on_load=script("status"))
    return RunBar(run, stop, line)
