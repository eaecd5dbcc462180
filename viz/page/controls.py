"""The column of choices: document, question, pruning, model and the finer settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from viz.page import document_input, model_picker, schedule_input
from viz.page.document_input import DocumentInput
from viz.page.examples import Example
from viz.page.model_picker import Offer
from viz.page.schedule_input import ScheduleInput, read_steps
from viz.page.setup import Setup

# The plain settings, under the names that `Setup` and `Controls` share.
NUMBERS = (
    "max_new_tokens", "temperature", "top_p", "seed", "block_size", "sink", "local", "query_window", "active",
    "refresh", "gamma", "repeats",
)  # fmt: skip


@dataclass(frozen=True)
class Controls:
    """Every input of the page. `inputs` and `read` belong together: the one lists what the other reads."""

    document: DocumentInput
    schedule: ScheduleInput
    model: gr.HTML
    max_new_tokens: gr.Slider
    temperature: gr.Slider
    top_p: gr.Slider
    seed: gr.Number
    block_size: gr.Dropdown
    sink: gr.Slider
    local: gr.Slider
    query_window: gr.Slider
    active: gr.Slider
    refresh: gr.Slider
    gamma: gr.Slider
    repeats: gr.Slider

    @property
    def numbers(self) -> tuple[Any, ...]:
        """The plain settings, in the order of `NUMBERS`."""
        return tuple(getattr(self, name) for name in NUMBERS)

    @property
    def inputs(self) -> list[Any]:
        """What `read` needs, in its order."""
        return [self.model, self.document.source, self.document.example, self.document.question,
                *self.numbers, *self.schedule.inputs]  # fmt: skip

    @property
    def everything(self) -> list[Any]:
        """Every component that `show` may change."""
        doc, plan = self.document, self.schedule
        return [self.model, doc.source, doc.example, doc.upload, doc.paste, doc.question, *self.numbers, plan.preset,
                plan.count, *plan.rows, *plan.layers, *plan.keeps, plan.drawing]  # fmt: skip

    def read(self, values: Sequence[Any]) -> Setup:
        """The setup in the values of `inputs`; raises ConfigError."""
        model, source, example, question, *rest = values
        plain = Setup()
        numbers = {
            name: type(getattr(plain, name))(value or 0)
            for name, value in zip(NUMBERS, rest[: len(NUMBERS)], strict=True)
        }
        return Setup(
            model=str(model),
            example=str(example or "") if source == "Example" else "",
            question=str(question or ""),
            steps=read_steps(tuple(rest[len(NUMBERS) :])),
            **numbers,
        )

    @staticmethod
    def source_of(values: Sequence[Any]) -> str:
        """Which of the document's sources is chosen in the values of `inputs`."""
        return str(values[1])

    def show(self, setup: Setup, layers: int) -> dict[Any, Any]:
        """Updates that make the controls show `setup` on a model of `layers` layers."""
        doc = self.document
        updates = {
            self.model: setup.model,
            doc.source: "Example",
            doc.example: setup.example,
            doc.question: setup.question,
            **self.schedule.updates(setup.steps, layers),
        }
        updates.update(zip(self.numbers, (getattr(setup, name) for name in NUMBERS), strict=True))
        return updates


def build(setup: Setup, layers: int, examples: Sequence[Example], about: str, listed: list[Offer]) -> Controls:
    """Lay out the column, showing `setup`."""
    with gr.Group(elem_classes="choices"):
        document = document_input.build(setup, examples, about)
    with gr.Group(elem_classes="choices"):
        schedule = schedule_input.build(setup, layers)
    with gr.Group(elem_classes="choices"):
        model = model_picker.build(setup.model, listed)
    with gr.Accordion("Answer and scoring settings", open=False, elem_id="settings"):
        max_new_tokens = gr.Slider(1, 512, value=setup.max_new_tokens, step=1, label="Longest answer, tokens")
        repeats = gr.Slider(
            1, 9, value=setup.repeats, step=1, label="Runs of each side",
            info="More than one gives a median and a spread.",
        )  # fmt: skip
        temperature = gr.Slider(
            0, 2, value=setup.temperature, step=0.05, label="Temperature", info="0 always takes the likeliest token."
        )
        top_p = gr.Slider(0.05, 1, value=setup.top_p, step=0.05, label="Top-p")
        seed = gr.Number(setup.seed, precision=0, minimum=0, label="Seed")
        block_size = gr.Dropdown(
            [8, 16, 32, 64, 128], value=setup.block_size, label="Block size, tokens",
            info="Tokens are kept or dropped in blocks of this size.",
        )  # fmt: skip
        sink = gr.Slider(0, 8, value=setup.sink, step=1, label="First blocks always kept")
        local = gr.Slider(8, 512, value=setup.local, step=8, label="Last tokens always kept")
        query_window = gr.Slider(
            1, 64, value=setup.query_window, step=1, label="Query window",
            info="The last positions, whose queries score the blocks.",
        )  # fmt: skip
        active = gr.Slider(
            0.05, 1, value=setup.active, step=0.05, label="Decode working set",
            info="Share of the kept blocks that stays on the device while the answer is written; 1 keeps all.",
        )  # fmt: skip
        refresh = gr.Slider(1, 32, value=setup.refresh, step=1, label="Decode steps between looks at it")
        gamma = gr.Slider(
            0, 1, value=setup.gamma, step=0.05, label="Swap below this overlap",
            info="Blocks are swapped when less of the working set than this is still wanted.",
        )  # fmt: skip
    return Controls(
        document, schedule, model, max_new_tokens, temperature, top_p, seed, block_size, sink, local, query_window,
        active, refresh, gamma, repeats,
    )  # fmt: skip
