"""From a model's name to a served page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sliminfer.models import KnownModel, known_models
from viz.page import layout
from viz.page.examples import Example, examples
from viz.page.setup import Setup, preset_steps
from viz.page.shelf import Shelf
from viz.page.site import Site

MOST_WAITING = 32  # visitors in the queue; more would wait longer than anyone does


def open_site(model: str, device: str, dtype: str, preset: str, shipped: tuple[Example, ...] | None = None) -> Site:
    """Load `model`, warm it up, and gather what the page offers. Raises SlimError.

    `shipped` are the examples on offer, by default those of the project.
    """
    shelf = Shelf(device=device, dtype=dtype)
    loaded = shelf.worker.submit(shelf.engine, model).result().loaded
    models = {model: KnownModel(model, loaded.shape, "")} | known_models()
    shipped = examples() if shipped is None else shipped
    first = shipped[0].suggestions[0].question
    start = Setup(model=model, example=shipped[0].id, question=first, steps=preset_steps(preset, loaded.shape.layers))
    return Site(shelf, start, models, shipped)


def serve(site: Site, host: str, port: int, **options: Any) -> gr.Blocks:
    """Serve the page of `site`; blocks unless `prevent_thread_lock` is among `options`."""
    page = layout.build(site)
    page.queue(max_size=MOST_WAITING, default_concurrency_limit=1)
    if not options.get("prevent_thread_lock"):
        print(f"SlimInfer Studio: http://{host}:{port}")
    page.launch(server_name=host, server_port=port, quiet=True, **layout.launch_options(), **options)
    return page
