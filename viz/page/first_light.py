"""The recorded run at its two places: in the HTML as it is sent, painted at once, and then in a slot of the page."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from sliminfer.assets import ASSETS
from sliminfer.errors import SlimError
from viz.figures.playing import playing_html
from viz.figures.recording import FOLDER, DiffusionRecording, Recording, read_diffusion, read_recording
from viz.figures.theme import script, stylesheet
from viz.figures.tour import tour_html

SLOT = '<div class="rec-slot"></div>'
# Gradio makes the page dark by the same two signs, but only once its scripts are there. A button that is pressed before
# that is remembered.
_EARLY = """
const theme = new URLSearchParams(location.search).get('__theme');
if (theme === 'dark' || (theme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches))
  document.body.classList.add('dark');
document.addEventListener('click', (event) => {
  const button = event.target.closest?.('#first-light button');
  if (button) window.slimClicked = button;
});
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FirstLightPage:
    """What is recorded; None where there is no recording, and then nothing is shown before a run."""

    run: Recording | None = None
    spread: DiffusionRecording | None = None

    @classmethod
    def of(cls, folder: Path = FOLDER) -> FirstLightPage:
        """The recordings in `folder`; one that cannot be read is logged and left out, as no page depends on it."""
        run, spread = None, None
        try:
            run = read_recording(folder / "run.json")
            spread = read_diffusion(folder / "diffusion.json")
        except SlimError as error:
            _log.warning("no recording: %s", error)
        return cls(run, spread)

    @property
    def head(self) -> str:
        """Style sheets, for the page's head."""
        names = ("touch",) if self.run is None else ("touch", "recording")
        rules = "".join((ASSETS / "css" / f"{name}.css").read_text(encoding="utf-8") for name in names)
        return f"<style>{stylesheet() if self.run is not None else ''}{rules}</style>"

    def body(self, title: str, tagline: str) -> str:
        """The page's frame with the recording in it, for the beginning of its body."""
        if self.run is None:
            return ""
        playing = playing_html(self.run, tour_html(self.run, self.spread))
        return (
            f"<script>{_EARLY}</script>"
            f'<div id="first-light"><header><h1>{title}</h1><p>{tagline}</p></header>'
            '<div class="rec-columns"><div class="rec-space" aria-hidden="true"></div>'
            f"<main>{playing}</main></div></div>"
        )


def build_slot() -> gr.HTML:
    """Where the recording moves to once the page is there."""
    return gr.HTML(SLOT, elem_id="recording", apply_default_css=False, js_on_load=script("recording"))
