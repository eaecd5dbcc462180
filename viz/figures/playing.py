"""A recorded run as it plays: both answers, the map of kept tokens filling layer by layer, the evidence surviving.

Nothing but CSS moves it: what stands in the HTML is the end, and every part that comes later, or goes, carries the
second at which it does as `--at`. So it plays before any script has loaded, and where a visitor asks for reduced
motion it simply stands there. `assets/js/recording.js` adds the buttons.
"""

from __future__ import annotations

from dataclasses import replace

from sliminfer.engine.side_result import SideResult
from viz.figures.kept_grid import kept_grid
from viz.figures.recording import About, Piece, Recording
from viz.figures.replay import TITLES, replay_table
from viz.figures.words import count, escape, percent, seconds

PLAY_S = 9.0  # how long it plays, whatever the run took
MAP_PX = 168


def playing_html(recording: Recording, tour: str = "") -> str:
    """The whole figure, with the `tour` that its button opens."""
    run, about = recording.run, recording.about
    ends = max(side.piece_at[-1] for side in run.sides)
    scale = PLAY_S / ends
    pace = f"shown {ends / PLAY_S:.0f} times faster" if ends > 1.5 * PLAY_S else "shown at its own pace"
    return (
        f'<section class="recording fig" aria-label="A recorded run" style="--play:{PLAY_S:g}s">'
        f"{_header(about)}{_idea(recording)}"
        f'<p class="rec-asked">{escape(about.question)} <span>Asked of {escape(about.document)}: '
        f"{count(len(run.pruned.prompt or ()))} tokens.</span></p>"
        f'<div class="rec-lanes">{"".join(_lane(side, scale, ends) for side in run.sides)}</div>'
        f'<div class="rec-below"><div class="rec-map">{_map(recording, scale)}</div>{_passage(recording, scale)}</div>'
        f'<p class="rec-note">Both sides start together here, {pace}; in truth they ran one after the other. '
        f"{escape(about.document)}: {escape(about.source)}, {escape(about.licence)}.</p>"
        f"{replay_table(run).details()}{tour}</section>"
    )


def source_line(about: About) -> str:
    """Model, machine and date, as they stand beside whatever was recorded."""
    return f"<b>Recording</b> {escape(about.model)}, {escape(about.machine)}, {escape(about.day)}"


def _header(about: About) -> str:
    return (
        f'<header><p class="rec-of">{source_line(about)}</p><div class="rec-buttons">'
        '<button type="button" class="rec-run">Run it yourself</button>'
        '<button type="button" class="rec-play">Pause</button>'
        '<button type="button" class="rec-open" aria-expanded="false">Tour in four steps</button></div></header>'
    )


def _idea(recording: Recording) -> str:
    """The idea in three sentences, with this run's numbers."""
    run, kept = recording.run, recording.kept
    first, last = kept.stages[0], kept.stages[-1]
    same = run.full.text.strip() == run.pruned.text.strip()
    ending = "The answer is the same" if same else "Both answers are right"
    comparison = run.comparison
    assert comparison is not None  # a recording holds a whole run
    if comparison.ttft > 1.05 * comparison.ttft_flops:  # more than the arithmetic can bring is the machine's mood
        ending += f", and the pruned model needed {comparison.ttft_flops:.1f} times less arithmetic to begin it"
    elif comparison.ttft >= 1.05:
        ending += f", and the pruned model’s first word comes {comparison.ttft:.1f} times sooner"
    return (
        '<p class="rec-idea">'
        f"<span>The first {first.end} layers read the whole document.</span> "
        "<span>Then the model’s own attention tells which blocks the question needs, and only they go on: "
        f"{percent(last.tokens / kept.tokens)} in the end.</span> <span>{ending}.</span></p>"
    )


def _lane(side: SideResult, scale: float, ends: float) -> str:
    first, last = (100 * side.piece_at[index] / ends for index in (0, -1))
    words = "".join(
        f'<span class="rec-token" style="--at:{at * scale:.2f}s">{escape(piece)}</span>'
        for at, piece in zip(side.piece_at, side.pieces, strict=True)
    )
    return (
        f'<section class="rec-lane replay-lane {side.side}" aria-label="{TITLES[side.side]}">'
        f"<h3>{TITLES[side.side]}<span>first word after {seconds(side.ttft_s)}</span></h3>"
        f'<div class="replay-track" aria-hidden="true"><i class="read" style="width:{first:.2f}%"></i>'
        f'<i class="write" style="left:{first:.2f}%;width:{max(0.6, last - first):.2f}%"></i><b></b></div>'
        f'<p class="rec-answer">{words}</p></section>'
    )


def _map(recording: Recording, scale: float) -> str:
    """The map of kept tokens under a veil that lifts layer by layer, as the pruned model read."""
    kept = recording.kept
    high = 100 / kept.layers
    veils = "".join(
        f'<i class="rec-veil" style="top:{layer * high:.3f}%;height:{high + 0.05:.3f}%;--at:{at * scale:.2f}s"></i>'
        for layer, at in enumerate(recording.layer_at["pruned"])
    )
    marks = "".join(
        f'<i class="rec-evidence" style="left:{100 * start / kept.tokens:.3f}%"></i>'
        for start, _ in recording.evidence
    )
    grid = kept_grid(kept, "What each layer read")
    shown = tuple(strip for strip in grid.strips if strip.name != "always kept")
    legend = tuple(item for item in grid.legend if item[1] not in ("sinks", "local window"))
    return replace(grid, strips=shown, legend=legend, below=None, tall=MAP_PX, over=veils + marks).html()


def _passage(recording: Recording, scale: float) -> str:
    """The words around the evidence, as the prune steps leave them."""
    steps = recording.run.pruned.pruned
    kept = [set(step.kept.tolist()) for step in steps]
    words = []
    for (dropped, evidence), text in _runs(recording.passage, kept):
        names = [f"rec-gone g{dropped}" if dropped else "rec-stays", *(["rec-evidence-text"] if evidence else [])]
        at = f' style="--at:{steps[dropped - 1].at * scale:.2f}s"' if dropped else ""
        words.append(f'<span class="{" ".join(names)}"{at}>{escape(text)}</span>')
    return (
        '<div class="rec-passage"><p class="rec-label">The passage that answers, and what is dropped around it</p>'
        f'<p tabindex="0" role="region" aria-label="The passage">… {"".join(words)} …</p></div>'
    )


def _runs(passage: tuple[Piece, ...], kept: list[set[int]]) -> list[tuple[tuple[int, bool], str]]:
    """Neighbouring pieces of one fate together: number of the prune step that drops them (0: none), and if evidence."""
    runs: list[tuple[tuple[int, bool], str]] = []
    for piece in passage:
        dropped = next((number for number, alive in enumerate(kept, start=1) if piece.start not in alive), 0)
        fate = (dropped, piece.evidence)
        if runs and runs[-1][0] == fate:
            runs[-1] = (fate, runs[-1][1] + piece.text)
        else:
            runs.append((fate, piece.text))
    return runs
