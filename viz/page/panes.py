"""The two answer panes, the status line and the verdict, as HTML drawn from a LiveRun."""

from __future__ import annotations

import math

from sliminfer.engine.events import Side
from sliminfer.engine.side_result import SideResult
from sliminfer.engine.timing import Timing
from viz.figures.timing import began
from viz.figures.words import escape, percent, plural, rate, seconds
from viz.page.judging import agreement, caveat
from viz.page.live import LiveRun
from viz.page.remaining import remaining

TITLES: dict[Side, str] = {"full": "Full model", "pruned": "Pruned model"}
IDLE: dict[Side, str] = {
    "full": "Every layer reads the whole prompt. Its answer appears here.",
    "pruned": "Deep layers read only the blocks that matter to the question. Its answer appears here.",
}


def pane(run: LiveRun, side: Side) -> str:
    """One side's pane: what it is doing, its answer, and one bar per layer (height: share of the prompt read)."""
    view = run.view.full if side == "full" else run.view.pruned
    phase = run.phase(view)
    if phase == "waiting":
        queued = side == "pruned" and run.view.full.prompt is not None and run.stopped is None
        words = "Starts when the full model is done: the two never share the machine." if queued else IDLE[side]
        body = f'<p class="answer idle">{words}</p>'
    elif phase == "reading":
        body = '<p class="answer idle">Reading the prompt …</p>'
    elif phase == "failed":
        body = f'<p class="answer failed">{escape(view.error)}</p>'
    else:
        caret = '<span class="caret"></span>' if phase == "answering" else ""
        body = f'<p class="answer">{escape(view.text.strip()) or "<em>No text yet.</em>"}{caret}</p>'
    return (
        f'<section class="pane {side} {phase}" aria-label="{TITLES[side]}">'
        f'<header><h3>{TITLES[side]}</h3><span class="phase">{doing(run, view)}</span></header>'
        f"{body}{staircase(view)}<footer>{_times(run, view)}</footer></section>"
    )


def doing(run: LiveRun, view: SideResult) -> str:
    """What the side is doing, in a few words."""
    phase = run.phase(view)
    if phase == "reading":
        return f"reading, layer {min(view.layers_done + 1, view.layers)} of {view.layers}"
    if phase == "answering":
        return f"answering, token {len(view.pieces)}"
    return phase


def staircase(view: SideResult) -> str:
    """One bar per layer, as high as the share of the prompt that the layer ran over."""
    alive = view.alive
    total = len(view.prompt) if view.prompt is not None else 1
    run_bars = "".join(f'<i class="on" style="--h:{100 * tokens / total:.1f}%"></i>' for tokens in alive)
    rest = "<i></i>" * (view.layers - len(alive))
    if alive:
        label = (
            f"{len(alive)} of {view.layers} layers run; the last one read {percent(alive[-1] / total)} "
            f"of {total:,} prompt tokens"
        )
    else:
        label = "No layer has run yet"
    return f'<div class="stairs" role="img" aria-label="{label}">{run_bars}{rest}</div>'


def _times(run: LiveRun, view: SideResult) -> str:
    """Time to first token and decode speed as they stand."""
    if view.prompt is None:
        return "&nbsp;"
    clock = f"{seconds(run.now)} …" if run.phase(view) == "reading" else seconds(view.ttft_s)
    parts = [f"first token <b>{clock}</b>"]
    if len(view.pieces) > 1:
        parts.append(f"<b>{rate(view.tokens_per_s)}</b> tokens/s")
    return "<span>" + "</span><span>".join(parts) + "</span>"


def status(text: str, kind: str = "ready") -> str:
    """The one status line; `kind` is ready, busy, done or error."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="status {kind}" role="{role}"><span class="dot" aria-hidden="true"></span>{escape(text)}</p>'


def progress(run: LiveRun) -> str:
    """The status line of a run as it stands."""
    if run.failure:
        return status(run.failure, "error")
    if run.stopped is not None:
        view = run.view.full if run.stopped == "full" else run.view.pruned
        where = f"token {len(view.pieces)}" if view.pieces else f"layer {view.layers_done} of {view.layers}"
        return status(f"Stopped in the {TITLES[run.stopped].lower()} at {where}. Run starts afresh.")
    if run.complete:
        count = "One run" if run.of == 1 else f"{run.of} runs"
        together = ", at the same time on two equal devices" if run.view.raced else ""
        again = f" {plural(len(run.view.again), 'more pair')} for the clock alone." if run.view.again else ""
        return status(f"Done. {count} of each side, after a warm-up{together}.{again}", "done")
    view = run.view.full if run.view.full.metrics is None else run.view.pruned
    if view.prompt is None:
        return status(f"{TITLES[view.side]}: preparing …", "busy")
    turn = "" if run.of == 1 else f" Round {len(run.earlier) + 1} of {run.of}."
    return status(f"{TITLES[view.side]}: {doing(run, view)}{remaining(run)}.{turn}", "busy")


def timing_on(run: LiveRun) -> str:
    """The status line while prefills run for the clock alone."""
    done = 0 if run.timing is None else len(run.timing.pairs)
    return status(f"Both answers are there. Timing both sides until it is clear: {plural(done, 'pair')}.", "busy")


def waiting_words(ahead: int, wait_s: float) -> str:
    """What a run that was asked for waits for: its place in the queue, and for how long where that is known."""
    if not ahead:
        return "Waiting for the engine: a device computes one run at a time."
    how_long = f" for about {seconds(float(math.ceil(wait_s)))}" if wait_s >= 1 else ""
    return f"Place {ahead + 1} in the queue: {plural(ahead, 'visitor')} ahead{how_long}."


def verdict(run: LiveRun, model: str = "", expected: str = "") -> str:
    """The run's finding in plain words; empty before both sides are done.

    `model` says how sure a first word must be, and `expected` is what a right answer says, where that is known.
    """
    comparison, pruned = run.view.comparison, run.view.pruned
    alive = pruned.alive
    if comparison is None or pruned.prompt is None or not alive:
        return ""
    share = percent(min(alive) / len(pruned.prompt))
    timing = run.timing or Timing((), comparison.ttft_flops)
    saved = percent(1 - 1 / comparison.kv_bytes)
    same = agreement(run.view, expected)
    if run.view.full.text.strip() != pruned.text.strip():
        same += ". Pruning changed the answer: <b>Where was it lost?</b> on the Kept tokens tab traces it"
    lowest = f"With its deepest layers reading <b>{share}</b> of the prompt, the pruned model"
    spared = f"<b>{saved}</b> less of the prompt’s KV cache"
    if timing.told:
        found = f"{lowest} began to answer {began(timing)}, kept {spared}, {same}."
    else:  # what is sure comes first
        found = (
            f"{lowest} needed <b>{timing.bound:.1f} times less</b> arithmetic, kept {spared}, {same}. "
            f"In time, the pruned model began to answer {began(timing)}."
        )
    return f'<p class="verdict">{found}{caveat(run.view, model)}</p>'
