"""The finer settings: how the answer is written, how blocks are scored, how the prompt is read, what decode holds."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sliminfer.schedule.reading import SparseReading
from viz.page.setup import Setup


def build(setup: Setup, most_new_tokens: int) -> dict[str, Any]:
    """Lay out all groups, showing `setup`; the components under the names of `Setup`'s fields.

    `most_new_tokens` is the longest answer on offer.
    """
    with gr.Accordion("Answer and scoring settings", open=False, elem_id="settings"):
        settings = _answer_and_scoring(setup, most_new_tokens)
    with gr.Accordion("Reading", open=False, elem_id="reading"):
        settings |= _reading(setup)
    with gr.Accordion("Decode memory", open=False, elem_id="decode-memory"):
        settings |= _decode_memory(setup)
    return settings


def _answer_and_scoring(setup: Setup, most_new_tokens: int) -> dict[str, Any]:
    return {
        "max_new_tokens": gr.Slider(
            1, most_new_tokens, value=setup.max_new_tokens, step=1, label="Longest answer, tokens"
        ),
        "repeats": gr.Slider(
            1, 9, value=setup.repeats, step=1, label="Runs of each side",
            info="More than one gives a median and a spread.",
        ),
        "temperature": gr.Slider(
            0, 2, value=setup.temperature, step=0.05, label="Temperature", info="0 always takes the likeliest token."
        ),
        "top_p": gr.Slider(0.05, 1, value=setup.top_p, step=0.05, label="Top-p"),
        "seed": gr.Number(setup.seed, precision=0, minimum=0, label="Seed"),
        "block_size": gr.Dropdown(
            [4, 8, 16, 32, 64, 128], value=setup.block_size, label="Block size, tokens",
            info="Tokens are kept or dropped in blocks of this size.",
        ),
        "sink": gr.Slider(0, 16, value=setup.sink, step=1, label="First blocks always kept"),
        "local": gr.Slider(8, 512, value=setup.local, step=8, label="Last tokens always kept"),
        "least_tokens": gr.Slider(
            0, 1024, value=setup.least_tokens, step=32, label="Fewest tokens kept",
            info="However small a step's share of a short prompt.",
        ),
        "query_window": gr.Slider(
            0, 64, value=setup.query_window, step=1, label="Query window",
            info="The last positions, whose queries score the blocks. 0: those of the question and what follows it.",
        ),
    }  # fmt: skip


def _reading(setup: Setup) -> dict[str, Any]:
    least = SparseReading().from_tokens
    return {
        "reading": gr.Radio(
            [("Dense", "dense"), ("Sparse", "sparse")], value=setup.reading, label="Layers before the first prune step",
            info=f"Sparse: each block of the prompt attends to chosen blocks of it, from {least:,} tokens on.",
        ),
        "reading_share": gr.Slider(
            0.05, 1, value=setup.reading_share, step=0.05, label="Share of the blocks", info="For sparse reading."
        ),
    }  # fmt: skip


def _decode_memory(setup: Setup) -> dict[str, Any]:
    return {
        "active": gr.Slider(
            0.05, 1, value=setup.active, step=0.05, label="Working set",
            info="Share of the kept blocks that stays on the device while the answer is written. 1: off, all stay.",
        ),
        "refresh": gr.Slider(
            1, 32, value=setup.refresh, step=1, label="Refresh, decode steps",
            info="Steps between two looks at the working set.",
        ),
        "gamma": gr.Slider(
            0, 1, value=setup.gamma, step=0.05, label="Gamma",
            info="Blocks are swapped when less of the working set than this share is still wanted.",
        ),
        "active_preserve": gr.Checkbox(
            setup.active_preserve, label="Preserve layers too",
            info="The layers before the first prune step hold a working set as well.",
        ),
        "decode_unit_size": gr.Dropdown(
            [1, 2, 4, 8, 16, 32], value=setup.decode_unit_size, label="Decode unit, tokens",
            info="A look scores the mean key of every so many tokens.",
        ),
    }  # fmt: skip
