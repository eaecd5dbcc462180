"""From a model's name, or a host's profile, to a served page."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from sliminfer.documents.document import MIB
from sliminfer.engine.limits import RunLimits
from sliminfer.errors import ModelError
from sliminfer.hosting import Limits, Profile
from sliminfer.model.known import KnownModel, known_models
from sliminfer.model.loading import DEMO_MODEL
from sliminfer.model.sources import SMOLLM2
from viz.door.gate import gate
from viz.door.uploads import Folder
from viz.page import layout
from viz.page.compat import put_queue, upload_folder
from viz.page.examples import Example, examples
from viz.page.front import layers, middleware
from viz.page.health import health_route
from viz.page.model_picker import is_usable
from viz.page.readings import OWN_MACHINE, ReadingBounds
from viz.page.setup import Setup, preset_reading, preset_steps
from viz.page.shelf import Shelf
from viz.page.site import Site
from viz.page.tab import Tab
from viz.page.tabs import TABS
from viz.page.uploads import forgetting
from viz.page.waiting import Places, VisitorQueue

HOSTED_PATIENCE_S = 1.5  # seconds in which times are taken again where others wait for the device
MOST_WAITING = 32  # visitors in the queue; more would wait longer than anyone does


def open_site(
    model: str,
    device: str,
    dtype: str,
    preset: str,
    shipped: tuple[Example, ...] | None = None,
    profile: Profile | None = None,
    packed: bool = False,
    draft: str = "",
) -> Site:
    """Load `model`, warm it up, and gather what the page offers. Raises SlimError.

    `shipped` are the examples on offer, by default those of the project. A `profile` sets what a hosted page offers:
    its models and no others, and its limits. `packed` leaves the weights of GGUF files packed. `draft` is the model
    that reads first for methods with a draft.
    """
    if profile is None:
        shelf = Shelf(device=device, dtype=dtype, packed=packed, draft=draft)
    else:
        shelf = hosted_shelf(profile, device, dtype)
    if profile is not None and model not in profile.models:
        raise ModelError(f"{model} is not offered here: choose one of {', '.join(profile.models)}.")
    loaded = shelf.open(model)
    known = known_models()
    note = known[model].note if model in known else ""
    models = {model: KnownModel(model, loaded.shape, note, loaded.weights_bytes if loaded.packed else None)}
    models |= {name: other for name, other in known.items() if name != model}
    if profile is not None:
        models = {name: models[name] for name in profile.models if name in models}
    elif loaded.device.type == "cpu":
        models = {name: each for name, each in models.items() if name == model or is_usable(each.shape)}
    if SMOLLM2 in models:  # a real model stands before the one that was made for a demonstration
        models = {SMOLLM2: models[SMOLLM2]} | models if model == DEMO_MODEL else models
    shipped = examples() if shipped is None else shipped
    first = shipped[0].suggestions[0].question
    steps = preset_steps(preset, loaded.shape.layers, model)
    reading = preset_reading(preset, model)
    start = Setup(model=model, example=shipped[0].id, question=first, steps=steps, **reading)
    bounds = OWN_MACHINE if profile is None else ReadingBounds(**profile.readings.model_dump())
    site = Site(shelf, start, models, shipped, reading_bounds=bounds)
    site.start = replace(start, max_new_tokens=min(start.max_new_tokens, site.most_new_tokens))
    if shelf.borrows:  # a lent GPU is not borrowed again for the clock alone
        site.patience_s = 0.0
    elif profile is not None:  # others wait for the device
        site.patience_s = min(site.patience_s, HOSTED_PATIENCE_S)
    if profile is not None:
        site.upload_limit = profile.limits.upload_mb * MIB
    return site


def hosted_shelf(profile: Profile, device: str, dtype: str) -> Shelf:
    """A shelf that keeps to `profile`; a `device` other than auto wins over the profile's."""
    limits = profile.limits
    return Shelf(
        device=profile.device if device == "auto" else device,
        dtype=dtype,
        attention=profile.attention,
        limits=RunLimits(limits.prompt_tokens, limits.new_tokens, float(limits.gpu_seconds)),
        borrows=profile.zero_gpu,
    )


def serve(
    site: Site,
    host: str,
    port: int,
    profile: Profile | None = None,
    tabs: Sequence[type[Tab]] = TABS,
    chores: Sequence[Callable[[], Coroutine[None, None, None]]] = (),
    **options: Any,
) -> gr.Blocks:
    """Serve the page of `site` within the limits of `profile`; returns once it is up, see `viz.page.closing`.

    `chores` are done on the server's loop for as long as the page is up; `options` go to Gradio's `launch`.
    """
    page = layout.build(site, tabs)
    places = Places(MOST_WAITING) if profile is None else _places(profile.limits)
    page.queue(api_open=False, default_concurrency_limit=len(site.shelf.devices))
    queue = VisitorQueue(page, places, len(site.shelf.devices), site.readings.forget)
    put_queue(page, queue)
    site.ahead = queue.ahead
    folder, hosted = Folder(upload_folder()), profile is not None
    done = [queue.drop_unheard, folder.keep, forgetting(page, site.forget, site.readings.forget_idle), *chores]
    launch = layout.launch_options(site) | {
        "prevent_thread_lock": True,
        "app_kwargs": {
            "routes": [health_route(site, page)],
            "middleware": middleware(hosted, layout.first_light(site)),
            "lifespan": gate(layers(site, page, queue, folder, hosted), done),
        },
        **options,
    }
    page.launch(server_name=host, server_port=port, quiet=True, **launch)
    return page


def _places(limits: Limits) -> Places:
    return Places(limits.queue_size, limits.per_client)
