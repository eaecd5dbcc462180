"""Stored diffusion on the Diffusion tab: what was measured on whole models before, beside the visitor's passage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from viz.figures.diffusion_stored import (
    StoredDiffusion,
    stored_attention_chart,
    stored_diffusions,
    stored_removal_chart,
)
from viz.page import curve
from viz.page.curve import Curve
from viz.page.site import Site


@dataclass(frozen=True)
class StoredDiffusionView:
    """The components, over the models they show."""

    found: tuple[StoredDiffusion, ...]
    chosen: gr.Dropdown
    removal: Curve
    attention: Curve

    @property
    def outputs(self) -> list[Any]:
        return [*self.removal.outputs, *self.attention.outputs]

    def drawn(self, index: int | None) -> dict[Any, Any]:
        """Updates that show one model's curves."""
        if index is None:
            return gr.skip()
        stored = self.found[index]
        return {
            **self.removal.drawn(stored_removal_chart(stored)),
            **self.attention.drawn(stored_attention_chart(stored)),
        }


def build(site: Site) -> StoredDiffusionView:
    """Lay it out, empty until the tab is opened."""
    found = stored_diffusions(site.benchmarks)
    with gr.Group(elem_classes="choices", visible=bool(found)):
        chosen = gr.Dropdown(
            [(stored.title, index) for index, stored in enumerate(found)], value=0 if found else None,
            label="Measured on whole models", info=_sources(found), elem_id="stored-diffusion",
        )  # fmt: skip
    return StoredDiffusionView(
        found, chosen, curve.build("stored-diffusion-removal"), curve.build("stored-diffusion-attention")
    )


def _sources(found: tuple[StoredDiffusion, ...]) -> str:
    return " ".join(f"{stored.model}: {stored.source}." for stored in found)
