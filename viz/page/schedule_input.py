"""The pruning card: preset, up to three prune steps, and a drawing of what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.errors import ConfigError, SlimError
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET, PRESETS, TUNED
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors import check_method, selector_class
from sliminfer.selectors.budget import flop_speedup
from sliminfer.sparse.plan import planned_reads
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

    def updates(self, steps: tuple[PruneStep, ...], layers: int, model: str, share: float | None) -> dict[Any, Any]:
        """Updates that show `steps` on the model called `model`, of `layers` layers, read sparsely by `share`."""
        updates: dict[Any, Any] = {
            self.preset: preset_of(steps, layers, model, share),
            self.count: max(1, len(steps)),
        }
        updates |= self.rows_shown(max(1, len(steps)))
        for index in range(MAX_STEPS):
            step = steps[index] if index < len(steps) else None
            slider: dict[str, Any] = {"maximum": layers - 1}
            if step is not None:
                slider["value"] = step.layer
                updates[self.keeps[index]] = _keep_percent(step.keep)
            updates[self.layers[index]] = gr.Slider(**slider)
        return updates

    def rows_shown(self, count: int) -> dict[Any, Any]:
        """Updates that show the first `count` rows."""
        return {row: gr.Row(visible=index < count) for index, row in enumerate(self.rows)}


def build(setup: Setup, layers: int) -> ScheduleInput:
    """Lay the card out, showing `setup` on a model of `layers` layers."""
    steps = setup.steps or preset_steps(DEFAULT_PRESET, layers, setup.model)
    preset = gr.Radio(
        [(name.capitalize(), name) for name in (*PRESETS, CUSTOM)],
        value=preset_of(steps, layers, setup.model, setup.share),
        label="Preset",
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
    count = rows_of(values)
    return tuple(_step(values, row) for row in range(count))


def rows_of(values: tuple[Any, ...]) -> int:
    """How many steps are asked for; raises ConfigError."""
    count = int(values[0])
    if not 1 <= count <= MAX_STEPS:
        raise ConfigError(f"{count} prune steps are asked for: choose 1 to {MAX_STEPS}.")
    return count


def _step(values: tuple[Any, ...], row: int) -> PruneStep:
    layer, keep = values[1 + row], values[1 + MAX_STEPS + row]
    if layer is None or keep is None:
        raise ConfigError(f"Prune step {row + 1} lacks a number: give its layer and the share that it keeps.")
    if not 0 < float(keep) <= 100:
        raise ConfigError(f"Prune step {row + 1} keeps {float(keep):g} %: choose more than 0 and up to 100.")
    return PruneStep(int(layer), float(keep) / 100)


def resized(values: tuple[Any, ...], layers: int) -> tuple[PruneStep, ...]:
    """As many steps as `values` ask for on a model of `layers` layers: what contradicts the step before follows it.

    A row that was hidden until now holds whatever stood there. Raises ConfigError where no layer is left for it.
    """
    steps: list[PruneStep] = []
    for row in range(rows_of(values)):
        step = _step(values, row)
        if steps:
            layer, keep = steps[-1].layer, float(steps[-1].keep)
            if layer >= layers - 1:
                raise ConfigError(f"No layer is left after {layer} for another prune step: move the last one up first.")
            later = step.layer if layer < step.layer < layers else min(layers - 1, layer + max(1, layers // 4))
            step = PruneStep(later, float(step.keep) if step.keep <= keep else max(0.0025, round(200 * keep) / 400))
        steps.append(step)
    return tuple(steps)


# What is said of every run of a model with layers that do not attend.
HYBRID = "Layers of this hybrid that do not attend read what is kept as if it were the prompt: an approximation."


def faulty(why: str) -> str:
    """What stands in place of the promise where there is none."""
    return f'<p class="fault" role="alert">{escape(why)}</p>'


def promise(setup: Setup, shape: ModelShape, tokens: int, question: Span | None = None) -> str:
    """What the setup will do to a prompt of `tokens` tokens, drawn and in words, or what is wrong with it.

    `question` is where the question stands, in tokens: it is always kept.
    """
    try:
        config = setup.config().where_seen(shape.seeing)
        config.check_model(shape.layers)
        check_method(config)
    except SlimError as error:
        return faulty(str(error))
    blocks = BlockMap.of(tokens, config, question)
    plan = selector_class(config.method).plan(config, blocks, shape.layers, shape.seeing)
    per_layer = plan.layer_runs
    saving = flop_speedup(config, shape, tokens, question)
    bars = "".join(f'<i class="on" style="--h:{100 * n / tokens:.1f}%"></i>' for n in per_layer)
    words = "; ".join(
        ["all layers read the whole prompt"]
        if not config.steps
        else [f"layers 0–{config.steps[0].layer - 1} read all {tokens:,} tokens{_sparsely(config, blocks, shape)}"]
        + [f"from layer {step.layer} on {percent(per_layer[step.layer] / tokens)}" for step in config.steps]
    )
    if config.steps and min(per_layer) == tokens:
        least = max(config.least_tokens, blocks.tokens_in(blocks.forced))
        words = (
            f"nothing would be dropped: at least {least:,} tokens are always kept, and the prompt has {tokens:,}"
            if least >= tokens - config.block_size
            else f"nothing would be dropped of the {tokens:,} tokens"
        )
    said = "" if all(shape.attending) else f" {HYBRID}"
    return (
        f'<div class="stairs plan" role="img" aria-label="Share of the prompt per layer: {words}">{bars}</div>'
        f'<p class="promise">{words[0].upper()}{words[1:]}. Arithmetic alone promises a prefill '
        f"<b>{times(saving)}</b> as fast.{said}{_measured(setup, shape)}</p>"
    )


def _measured(setup: Setup, shape: ModelShape) -> str:
    """What the preset in force cost a real model in answers, as an addition; nothing for other schedules."""
    name = preset_of(setup.steps, shape.layers, setup.model, setup.share)
    if setup.model in TUNED or name not in PRESETS:
        return ""
    return f" {name.capitalize()}, measured on Qwen2.5-Coder-1.5B: {escape(PRESETS[name].note)}."


def _sparsely(config: SlimConfig, blocks: BlockMap, shape: ModelShape) -> str:
    """What sparse reading does to a prompt, or why it does nothing, as an addition to a sentence."""
    if config.reading == "dense":
        return ""
    reads = planned_reads(config, blocks, shape)
    if not reads:
        return " (densely: the prompt is too short for less, or this model's layers cannot)"
    share = reads[0].pairs / (blocks.tokens * (blocks.tokens + 1) / 2)
    return f", each attending to {percent(share)} of what comes before it"


def _keep_percent(keep: float | int) -> float:
    """A fraction as the slider's percent; token counts cannot be shown and fall back to a quarter."""
    return round(400 * keep) / 4 if isinstance(keep, float) else 25.0
