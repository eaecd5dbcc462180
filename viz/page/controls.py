"""The column of choices: document, question, pruning, model and the finer settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sliminfer.errors import ConfigError, SlimError
from viz.page import document_input, model_picker, schedule_input, settings_input
from viz.page.document_input import DocumentInput
from viz.page.examples import Example
from viz.page.model_picker import Offer
from viz.page.schedule_input import ScheduleInput, read_steps
from viz.page.setup import Setup


@dataclass(frozen=True)
class Controls:
    """Every input of the page. `inputs` and `read` belong together: the one lists what the other reads.

    `settings` are the finer ones, under the names of `Setup`'s fields.
    """

    document: DocumentInput
    schedule: ScheduleInput
    model: gr.HTML
    settings: Mapping[str, Any]

    @property
    def inputs(self) -> list[Any]:
        """What `read` needs, in its order."""
        return [self.model, self.document.source, self.document.example, self.document.question,
                *self.settings.values(), *self.schedule.inputs]  # fmt: skip

    @property
    def everything(self) -> list[Any]:
        """Every component that `show` may change."""
        doc, plan = self.document, self.schedule
        return [self.model, doc.source, doc.example, doc.upload, doc.paste, doc.question, *self.settings.values(),
                plan.preset, plan.count, *plan.rows, *plan.layers, *plan.keeps, plan.drawing]  # fmt: skip

    def read(self, values: Sequence[Any]) -> Setup:
        """The setup in the values of `inputs`, which come as the browser holds them; raises ConfigError."""
        try:
            return self._read(values)
        except SlimError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                "Something that was sent is none of the page's values: reload the page and try again."
            ) from error

    def _read(self, values: Sequence[Any]) -> Setup:
        model, source, example, question, *rest = values
        plain, found = Setup(), len(self.settings)
        settings = {
            name: type(getattr(plain, name))(_in_range(self.settings[name], value or 0))
            for name, value in zip(self.settings, rest[:found], strict=True)
        }
        return Setup(
            model=str(model),
            example=str(example or "") if source == "Example" else "",
            question=str(question or ""),
            steps=read_steps(tuple(rest[found:])),
            **settings,
        )

    @staticmethod
    def source_of(values: Sequence[Any]) -> str:
        """Which of the document's sources is chosen in the values of `inputs`."""
        return str(values[1])

    def show(self, setup: Setup, layers: int) -> dict[Any, Any]:
        """Updates that make the controls show `setup` on a model of `layers` layers."""
        doc = self.document
        return {
            self.model: setup.model,
            **doc.show_source("Example" if setup.example else "Paste"),
            doc.source: "Example" if setup.example else "Paste",
            doc.example: gr.Dropdown(value=setup.example or None, visible=bool(setup.example)),
            doc.question: setup.question,
            **self.schedule.updates(setup.steps, layers, setup.model, setup.share),
            **{part: getattr(setup, name) for name, part in self.settings.items()},
        }


def _in_range(part: Any, value: Any) -> Any:
    """The value of a setting; raises ConfigError where it was typed beyond the ends of its slider."""
    if isinstance(part, gr.Slider) and not part.minimum <= value <= part.maximum:
        raise ConfigError(f"{part.label} is {value:g}: choose from {part.minimum:g} to {part.maximum:g}.")
    return value


def build(
    setup: Setup, layers: int, examples: Sequence[Example], about: str, listed: list[Offer], most_new_tokens: int,
    can: str = "",
) -> Controls:
    """Lay out the column, showing `setup`; `can` says what its model can be asked."""
    with gr.Group(elem_classes=["choices", "ask"]):
        document = document_input.build(setup, examples, about, can)
    with gr.Group(elem_classes=["choices", "drawn"]):
        schedule = schedule_input.build(setup, layers)
    with gr.Group(elem_classes=["choices", "drawn"]):
        model = model_picker.build(setup.model, listed)
    return Controls(document, schedule, model, settings_input.build(setup, most_new_tokens))
