"""The pruning card: preset, up to three prune steps, and a drawing of what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.errors import SlimError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep
from sliminfer.schedule.presets import DEFAULT_PRESET, PRESETS, TUNED
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors import selector_class
from sliminfer.selectors.budget import flop_speedup
from viz.figures.words import escape, percent, times
from viz.page.setup import CUSTOM, MAX_STEPS, Setup, preset_of, preset_steps


@dataclass(frozen=True)
class ScheduleInput:
    """The card's components; a step has a layer slider and a keep slider in percent."""

    preset: gr.Radio
    count: gr.Radio
    rows: tuple[gr.Row, ...]
    layers: tuple[gr.Slider, ...]
    keeps: tuple[gr.Slider, ...]
    drawing: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """The components that hold the steps, in the order of `read_steps`."""
        return [self.count, *self.layers, *self.keeps]

    def updates(self, steps: tuple[PruneStep, ...], layers: int, model: str) -> dict[Any, Any]:
        """Updates that show `steps` on the model called `model`, of `layers` layers."""
        updates: dict[Any, Any] = {
            self.preset: preset_of(steps, layers, model),
            self.count: max(1, len(steps)),
        }
        for index in range(MAX_STEPS):
            shown = index < max(1, len(steps))
            updates[self.rows[index]] = gr.Row(visible=shown)
            step = steps[index] if index < len(steps) else None
            slider: dict[str, Any] = {"maximum": layers - 1}
            if step is not None:
                slider["value"] = step.layer
                updates[self.keeps[index]] = _keep_percent(step.keep)
            updates[self.layers[index]] = gr.Slider(**slider)
        return updates


def build(setup: Setup, layers: int) -> ScheduleInput:
    """Lay the card out, showing `setup` on a model of `layers` layers."""
    steps = setup.steps or preset_steps(DEFAULT_PRESET, layers, setup.model)
    preset = gr.Radio(
        [(name.capitalize(), name) for name in (*PRESETS, CUSTOM)],
        value=preset_of(steps, layers, setup.model),
        label="Preset",
        info="; ".join(f"{name}: {PRESETS[name].note}" for name in PRESETS if setup.model not in TUNED) or None,
        elem_id="preset",
        elem_classes="segmented",
    )
    drawing = gr.HTML(elem_id="schedule", apply_default_css=False)
    count = gr.Radio(
        [(str(n), n) for n in range(1, MAX_STEPS + 1)],
        value=len(steps),
        label="Prune steps",
        elem_id="step-count",
        elem_classes="segmented",
    )
    rows, layer_sliders, keep_sliders = [], [], []
    for index in range(MAX_STEPS):
        step = steps[index] if index < len(steps) else PruneStep(min(layers - 1, layers - 2 + index), 0.1)
        with gr.Row(visible=index < len(steps), elem_classes="step", elem_id=f"step-{index + 1}") as row:
            layer_sliders.append(
                gr.Slider(1, layers - 1, value=step.layer, step=1, min_width=110, label="From layer", buttons=[])
            )
            keep_sliders.append(
                gr.Slider(1, 100, value=_keep_percent(step.keep), step=0.25, min_width=110, label="keep %", buttons=[])
            )
        rows.append(row)
    return ScheduleInput(preset, count, tuple(rows), tuple(layer_sliders), tuple(keep_sliders), drawing)


def read_steps(values: tuple[Any, ...]) -> tuple[PruneStep, ...]:
    """The prune steps in the values of `ScheduleInput.inputs`; raises ConfigError."""
    count, numbers = int(values[0]), values[1:]
    layers, keeps = numbers[:MAX_STEPS], numbers[MAX_STEPS : 2 * MAX_STEPS]
    return tuple(PruneStep(int(layers[i]), float(keeps[i]) / 100) for i in range(count))


def promise(setup: Setup, shape: ModelShape, tokens: int) -> str:
    """What the setup will do to a prompt of `tokens` tokens, drawn and in words, or what is wrong with it."""
    try:
        config = setup.config()
        config.check_model(shape.layers)
    except SlimError as error:
        return f'<p class="fault" role="alert">{escape(str(error))}</p>'
    plan = selector_class(config.method).plan(config, BlockMap.of(tokens, config), shape.layers)
    per_layer = plan.layer_runs
    saving = flop_speedup(config, shape, tokens)
    bars = "".join(f'<i class="on" style="--h:{100 * n / tokens:.1f}%"></i>' for n in per_layer)
    words = "; ".join(
        ["all layers read the whole prompt"]
        if not config.steps
        else [f"layers 0–{config.steps[0].layer - 1} read all {tokens:,} tokens"]
        + [f"from layer {step.layer} on {percent(per_layer[step.layer] / tokens)}" for step in config.steps]
    )
    return (
        f'<div class="stairs plan" role="img" aria-label="Share of the prompt per layer: {words}">{bars}</div>'
        f'<p class="promise">{words[0].upper()}{words[1:]}. Arithmetic alone promises a prefill '
        f"<b>{times(saving)}</b> as fast.</p>"
    )


def _keep_percent(keep: float | int) -> float:
    """A fraction as the slider's percent; token counts cannot be shown and fall back to a quarter."""
    return round(400 * keep) / 4 if isinstance(keep, float) else 25.0
