"""The idea in four steps, each with a figure that was computed before: read all, score, drop, same answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sliminfer.engine.events import BlocksPruned
from viz.figures.cards import cards_html
from viz.figures.diffusion import finding, similarity_grid
from viz.figures.grid import SHARES, Grid, Strip, share_levels
from viz.figures.kept_grid import kept_grid
from viz.figures.playing import source_line
from viz.figures.recording import DiffusionRecording, Recording
from viz.figures.table import Table
from viz.figures.words import count, escape, number, percent, plural, times

_PX = 168


def tour_html(recording: Recording, spread: DiffusionRecording | None) -> str:
    """The tour, closed; `assets/js/recording.js` opens it and turns its pages."""
    steps = (
        ("Read all", "Diffusion", _read_all(recording, spread)),
        ("Score", "Kept tokens", _score(recording)),
        ("Drop", "Kept tokens", _drop(recording)),
        ("Same answer", "Compare", _answer(recording)),
    )
    pages = "".join(
        f'<section class="tour-step" aria-label="Step {index} of {len(steps)}: {name}"{" hidden" * (index > 1)}>'
        f"<h3>{index} of {len(steps)} · {name}</h3>{body}"
        f'<p class="rec-note">For your own document: <button type="button" class="tour-tab" data-tab="{tab}">'
        f"the tab {tab}</button></p></section>"
        for index, (name, tab, body) in enumerate(steps, start=1)
    )
    return (
        '<div class="tour" role="group" aria-label="Tour" hidden><div class="rec-buttons">'
        '<button type="button" class="tour-back" disabled>Back</button>'
        '<button type="button" class="tour-next">Next</button>'
        f'<button type="button" class="tour-skip">Skip the tour</button></div>{pages}</div>'
    )


def score_grid(recording: Recording) -> Grid:
    """Scores of all blocks at each prune step: blue by rank, from the worst, clear, to the best; gone ones blank."""
    run = recording.run.pruned
    steps = [step for step in run.pruned if step.scores is not None]
    ranks = np.full((len(steps), max(len(step.scores) for step in steps if step.scores is not None)), np.nan)
    for row, step in zip(ranks, steps, strict=True):
        assert step.scores is not None
        scored = np.flatnonzero(np.isfinite(step.scores))
        order = np.argsort(np.argsort(step.scores[scored], kind="stable"), kind="stable")
        row[scored] = order / max(1, len(scored) - 1)
    tokens = recording.kept.tokens
    rows = [
        (f"layer {step.layer}", found, of, number(score), number(step.threshold))
        for step in steps
        for found, of, score in [evidence_rank(recording, step)]
    ]
    return Grid(
        title="What the question looks at",
        note="Blocks of the prompt at each prune step; the bluer, the more attention the question’s tokens pay.",
        cells=share_levels((ranks**6).astype(np.float32)),
        levels=SHARES,
        rows=tuple(f"layer {step.layer}" for step in steps),
        row_axis="",
        column_axis="original position",
        start=0,
        end=tokens,
        legend=(("kept", "best blocks"), ("dropped", "worst, or gone"), ("ink", "evidence")),
        table=Table.of(
            "Rank of the evidence’s best block among those scored",
            ("Prune step", "Rank", "Of", "Score", "Lowest score kept"),
            rows,
        ),
        strips=(Strip("evidence", tuple(("ink", span) for span in recording.evidence)),),
    )


def evidence_rank(recording: Recording, step: BlocksPruned) -> tuple[int, int, float]:
    """Rank, from 1, of the best block that touches the evidence, among how many, and its score."""
    assert step.scores is not None
    finite = step.scores[np.isfinite(step.scores)]
    touched = [
        step.scores[block]
        for start, end in recording.evidence
        for block in range(start // step.block_size, -(-end // step.block_size))
    ]
    best = float(np.nanmax(np.array([*touched, -np.inf])))
    return int((finite > best).sum()) + 1, len(finite), best


def _read_all(recording: Recording, spread: DiffusionRecording | None) -> str:
    first = recording.kept.stages[0]
    said = (
        f"<p>Layers 0 to {first.end - 1} read all {count(recording.kept.tokens)} tokens, so that every word has "
        "looked at all before it. What a sentence says can spread to the words after it meanwhile.</p>"
    )
    if spread is None:
        return said
    grid = replace(similarity_grid(spread.result), tall=_PX)
    return (
        f"{said}<p>How far the sentence “{escape(spread.passage.strip())}” had spread, measured by taking it out:</p>"
        f'{grid.html()}{finding(spread.result)}<p class="rec-note">{source_line(spread.about)}. The demo model was '
        "trained for it; in the real models that were measured there is little of it, and the next step does the work."
        "</p>"
    )


def _score(recording: Recording) -> str:
    steps = [step for step in recording.run.pruned.pruned if step.scores is not None]
    if not steps:
        return "<p>This method scores single tokens.</p>"
    rank, of, _ = evidence_rank(recording, steps[0])
    return (
        f"<p>Before layer {steps[0].layer} the question’s own tokens look back. A block of "
        f"{plural(steps[0].block_size, 'token')} counts as much as the most attention that any of its tokens gets: "
        f"the one that holds the answer comes in at place {count(rank)} of {count(of)}.</p>"
        f"{score_grid(recording).html()}"
    )


def _drop(recording: Recording) -> str:
    kept, comparison = recording.kept, recording.run.comparison
    assert comparison is not None
    steps = ", ".join(f"{percent(stage.tokens / kept.tokens)} from layer {stage.first}" for stage in kept.stages[1:])
    return (
        f"<p>Only the best blocks go on, at their old positions: {steps}. That is {times(comparison.ttft_flops)} less "
        f"arithmetic, and {times(comparison.kv_bytes)} less memory for the prompt’s keys and values.</p>"
        f"{replace(kept_grid(kept), tall=_PX).html()}"
    )


def _answer(recording: Recording) -> str:
    run = recording.run
    lines = "".join(
        f"<p><b>{name}:</b> {escape(side.text.strip())}</p>"
        for name, side in (("Full model", run.full), ("Pruned model", run.pruned))
    )
    return (
        f"<p>A right answer says “{escape(recording.about.answer)}”. What the deep layers never read was not missed:"
        f"</p>{lines}{cards_html(run)}"
    )
