"""The model picker: a native select in which models that do not fit are greyed, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from sliminfer.model.devices import free_memory, resolve_device
from sliminfer.model.known import KnownModel
from sliminfer.model.loading import DEMO_MODEL, LoadedModel
from sliminfer.schedule.memory import memory_estimate
from sliminfer.schedule.shapes import ModelShape
from viz.figures.words import count, escape, size

_TEMPLATE = '<label for="model-select">Model</label><select id="model-select">${options}</select>'
_ON_LOAD = """
const show = () => { const s = element.querySelector('select'); if (s) s.value = props.value; };
element.addEventListener('change', (e) => {
  if (e.target.tagName !== 'SELECT') return;
  props.value = e.target.value;
  trigger('change');
});
watch(['value', 'options'], show);
show();
"""


@dataclass(frozen=True)
class Offer:
    """A model on the list: its name for `load_model`, what to call it, and why it cannot run here, if so."""

    name: str
    title: str
    fault: str = ""


def title_of(name: str) -> str:
    """A model's name for people: the last part of a Hub id or folder."""
    return "Demo model" if name == DEMO_MODEL else Path(name).name


def offers(
    known: Mapping[str, KnownModel], loaded: LoadedModel | None, tokens: int, device: str, most: int | None = None
) -> list[Offer]:
    """What the picker lists for a prompt of `tokens` tokens on `device`, with the memory each model takes.

    `most` is the longest prompt that the page takes, None for any.
    """
    place = resolve_device(device)
    free = free_memory(place) + (0 if loaded is None else loaded.weights_bytes)
    return [_offer(name, model.shape, tokens, free, model.note, most) for name, model in known.items()]


def _offer(name: str, shape: ModelShape, tokens: int, free: int, note: str, most: int | None) -> Offer:
    need = memory_estimate(shape, tokens).total
    fault = ""
    if tokens > shape.context:
        fault = f"reads at most {count(shape.context)} tokens"
    elif most is not None and tokens > most:
        fault = f"this page takes up to {count(most)} tokens"
    elif need > free:
        fault = f"needs {size(need)}, {size(free)} free"
    return Offer(name, f"{title_of(name)} – {size(need)}" + (f", {note}" if note else ""), fault)


def options(listed: list[Offer]) -> str:
    """The select's options as HTML."""
    return "".join(
        f'<option value="{escape(offer.name)}"{" disabled" if offer.fault else ""}>'
        f"{escape(offer.title)}{f' ({escape(offer.fault)})' if offer.fault else ''}</option>"
        for offer in listed
    )


def build(chosen: str, listed: list[Offer]) -> gr.HTML:
    """The picker, showing `chosen`; its `change` event fires when the visitor picks another model."""
    return gr.HTML(
        value=chosen,
        options=options(listed),
        html_template=_TEMPLATE,
        js_on_load=_ON_LOAD,
        apply_default_css=False,
        elem_id="model-picker",
    )
