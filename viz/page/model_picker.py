"""The model picker: a native select in which models that do not fit are greyed, with the reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from sliminfer.model.devices import free_memory, resolve_device, resolve_dtype
from sliminfer.model.known import KnownModel
from sliminfer.model.loading import DEMO_MODEL
from sliminfer.model.sources import SMOLLM2
from sliminfer.schedule.shapes import ModelShape
from viz.figures.words import count, escape, size
from viz.page.shelf import Shelf

CORE_FLOPS_PER_S = 50e9  # of one core, in large products: 1.5B at 8K took 228 to 324 s of a core with others on it
LONGEST_PER_1K_S = 60.0

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
    """A model on the list.

    Attributes:
        name: for `load_model`.
        title: what to call it.
        need: bytes that it takes with the prompt.
        fault: why it cannot run here, if so.
    """

    name: str
    title: str
    need: int
    fault: str = ""


def title_of(name: str) -> str:
    """A model's name for people: the last part of a Hub id or folder."""
    return {DEMO_MODEL: "Demo model", SMOLLM2: "SmolLM2 135M"}.get(name, Path(name).name)


def offers(known: Mapping[str, KnownModel], shelf: Shelf, tokens: int, most: int | None = None) -> list[Offer]:
    """What the picker lists for a prompt of `tokens` tokens on the first device of `shelf`, with the memory each takes.

    `most` is the longest prompt that the page takes, None for any.
    """
    place, loaded = resolve_device(shelf.devices[0]), shelf.any_loaded()
    width = resolve_dtype(shelf.dtype, place).itemsize
    free = free_memory(place) + (0 if loaded is None else loaded.weights_bytes)  # another model takes its place
    found = []
    for name, model in known.items():
        need = model.memory(tokens, width, shelf.attention).total
        title = f"{title_of(name)} – {size(need)}" + (f", {model.note}" if model.note else "")
        found.append(Offer(name, title, need, _fault(model.shape, tokens, need, free, most)))
    return found


def _fault(shape: ModelShape, tokens: int, need: int, free: int, most: int | None) -> str:
    if tokens > shape.context:
        return f"reads at most {count(shape.context)} tokens"
    if most is not None and tokens > most:
        return f"this page takes up to {count(most)} tokens"
    return f"needs {size(need)}, {size(free)} free" if need > free else ""


def is_usable(shape: ModelShape, cores: int | None = None) -> bool:
    """Whether a CPU with so many cores reads a thousand tokens with such a model before a visitor has gone."""
    cores = cores or os.cpu_count() or 1
    return 2 * shape.params * 1024 / (CORE_FLOPS_PER_S * cores) <= LONGEST_PER_1K_S


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
