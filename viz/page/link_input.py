"""The simulated link of the Cache tab: a slider over bandwidths, from a slow disk's to that of PCIe 5.0.

A range input of our own, since a bandwidth wants a logarithmic scale and its unit in the label.
"""

from __future__ import annotations

import json

import gradio as gr

from sliminfer.cache import Link
from viz.figures.words import escape

# Bytes per second; for PCIe what it gives in practice.
BANDWIDTHS: tuple[tuple[float, str], ...] = (
    (10e6, "10 MB/s"),
    (30e6, "30 MB/s"),
    (100e6, "100 MB/s"),
    (300e6, "300 MB/s"),
    (1e9, "1 GB/s"),
    (3e9, "3 GB/s"),
    (12e9, "12 GB/s, PCIe 3.0 x16"),
    (25e9, "25 GB/s, PCIe 4.0 x16"),
    (50e9, "50 GB/s, PCIe 5.0 x16"),
)
_NAMES = json.dumps([name for _, name in BANDWIDTHS])
_TEMPLATE = (
    '<label for="link-speed">Simulated link between device and host: <output for="link-speed"></output></label>'
    f'<input id="link-speed" type="range" min="0" max="{len(BANDWIDTHS) - 1}" step="1" data-names="{escape(_NAMES)}">'
    '<p class="about">${note}</p>'
)
_ON_LOAD = """
const say = () => {
  const input = element.querySelector('input');
  if (!input) return;
  const name = JSON.parse(input.dataset.names)[input.value];
  element.querySelector('output').textContent = name;
  input.setAttribute('aria-valuetext', name);
};
const show = () => {
  const input = element.querySelector('input');
  if (input) input.value = props.value;
  say();
};
element.addEventListener('input', say);
element.addEventListener('change', (e) => {
  if (e.target.type !== 'range') return;
  props.value = Number(e.target.value);
  trigger('change');
});
watch(['value', 'note'], show);
show();
"""


def build(link: Link) -> gr.HTML:
    """The slider, hidden until there is something to simulate; its `change` event fires when it is let go."""
    return gr.HTML(
        value=index_of(link), note="", html_template=_TEMPLATE, js_on_load=_ON_LOAD, apply_default_css=False,
        elem_id="cache-link", visible=False,
    )  # fmt: skip


def index_of(link: Link) -> int:
    """The slider's place for the nearest bandwidth to that of `link`."""
    return min(range(len(BANDWIDTHS)), key=lambda at: abs(BANDWIDTHS[at][0] - link.bandwidth))


def link_at(index: int) -> Link:
    """The link at a place of the slider; places beyond its ends are its ends."""
    return Link(BANDWIDTHS[min(max(0, int(index)), len(BANDWIDTHS) - 1)][0])
