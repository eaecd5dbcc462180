"""A preset file of `tune`, or a config, taken over by the controls; read with the care that a stranger's file needs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from sliminfer.errors import ConfigError, SlimError
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.reading import SparseReading
from viz.page.controls import Controls
from viz.page.panes import status
from viz.page.setup import MAX_STEPS, Setup
from viz.page.site import Site

MOST_BYTES = 1_000_000
NO_PRESET = "The file is no preset: give the JSON file that `tune` wrote, or a config."


@dataclass(frozen=True)
class PresetEvents:
    """The callback of the upload button."""

    site: Site
    controls: Controls
    status: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        plan = self.controls.schedule
        parts = [plan.preset, plan.count, *plan.rows, *plan.layers, *plan.keeps]
        return [self.status, *self.controls.settings.values(), *parts]

    def take(self, data: bytes, *values: Any) -> dict[Any, Any]:
        """A file was chosen: the controls show what it says, or the status line what is wrong with it."""
        try:
            now = self.controls.read(values)
            shape = self.site.known(now.model).shape
            setup, said = setup_of_preset(data, now, shape.layers)
        except SlimError as error:
            return {self.status: status(str(error), "error")}
        return {
            **self.controls.schedule.updates(setup.steps, shape.layers, setup.model, setup.share),
            **{part: getattr(setup, name) for name, part in self.controls.settings.items()},
            self.status: status(f"Preset taken over. {said}".strip()),
        }


def build() -> gr.UploadButton:
    """The button."""
    return gr.UploadButton("Load a preset file", file_types=[".json"], type="binary", size="sm", elem_id="load-preset")


def setup_of_preset(data: bytes, setup: Setup, layers: int) -> tuple[Setup, str]:
    """`setup` with the pruning of a preset file for a model of `layers` layers, and what the file claims about it.

    The page's sliders move in quarters of a percent: keeps are rounded up to them. Raises ConfigError for a file that
    is no preset, does not fit the model, or sets what the page has no control for.
    """
    read = _read(data)
    config = SlimConfig.from_dict(read.get("config", read))
    config.check_model(layers)
    if any(not isinstance(step.keep, float) for step in config.steps) or not 1 <= len(config.steps) <= MAX_STEPS:
        raise ConfigError(
            f"The page shows 1 to {MAX_STEPS} prune steps with keeps in percent: use the file with `run`."
        )
    steps = tuple(PruneStep(step.layer, math.ceil(400 * step.keep - 1e-9) / 400) for step in config.steps)
    shared = {f.name for f in fields(Setup)} & {f.name for f in fields(SlimConfig)} - {"steps", "active"}
    changes = {name: getattr(config, name) for name in shared} | {"query_window": config.query_window or 0}
    if config.reading == "sparse":
        read_as = SparseReading.of(config)
        changes["reading_share"] = read_as.share
        if read_as == SparseReading(share=read_as.share):
            config = replace(config, reading_options={"share": read_as.share})
    made = replace(setup, steps=steps, active=1.0 if config.active is None else config.active, **changes)
    found, wanted = made.config().to_dict(), replace(config, steps=steps).to_dict()
    beyond = sorted(name for name in wanted if found[name] != wanted[name])
    if beyond:
        raise ConfigError(f"The preset sets {', '.join(beyond)}, which the page has no control for: use it with `run`.")
    tuned = read.get("tuned")
    claim = tuned.get("claim") if isinstance(tuned, dict) else None
    said = str(claim.get("sentence", ""))[:400] if isinstance(claim, dict) else ""
    return made, said if steps == config.steps else f"Keeps are rounded up to quarters of a percent. {said}".strip()


def _read(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, with an object under "config" if there is anything."""
    try:
        read = json.loads(data) if len(data) <= MOST_BYTES else None
    except (ValueError, RecursionError) as error:
        raise ConfigError(NO_PRESET) from error
    if not isinstance(read, dict) or not isinstance(read.get("config", read), dict):
        raise ConfigError(NO_PRESET)
    return read
