"""Where the answer was lost: what it attends to, layer by layer, and how much of that was kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sliminfer.diffusion.answer import AnswerOverlap
from sliminfer.diffusion.losses import Loss
from viz.figures.chart import Axis, Chart, Line, Mark, Rule
from viz.figures.table import Table
from viz.figures.words import DASH, escape, percent

LONGEST = 220  # characters of a sentence that is shown


def overlap_chart(overlap: AnswerOverlap, steps: Sequence[int]) -> Chart:
    """The share of what the full model's answer attends to that was kept, over the layers; `steps` are prune layers."""
    layers = np.arange(len(overlap.top), dtype=np.float64)
    marks: tuple[Mark, ...] = (
        Line("of its attention", layers, overlap.mass, "kept", markers=True),
        Line("of as many tokens as were kept", layers, overlap.top, "warm", "dash", markers=True),
        *(Rule(f"prune {step}", step, "muted", vertical=True) for step in steps),
    )
    rows = [
        (layer, _share(overlap.mass[layer]), _share(overlap.top[layer]), "yes" if layer in steps else "")
        for layer in range(len(overlap.top))
    ]
    title = "What the answer attends to, and how much of it was kept"
    return Chart(
        title=title,
        note="Share kept, of what the full model’s own answer looks back at. Layers that read all have no choice.",
        x=Axis("layer", low=-0.5, high=len(overlap.top) - 0.5),
        y=Axis("kept", percent=True, low=0.0, high=1.05),
        marks=marks,
        table=Table.of(title, ("Layer", "Of its attention", "Of as many tokens", "Prune step"), rows),
    )


def losses_html(losses: Sequence[Loss], document: str, changed: bool) -> str:
    """What was lost and where, in words; `changed` says whether the pruned answer is another one."""
    if changed:
        head = "<p class=\"verdict\"><b>Pruning changed the answer.</b>"
    else:
        head = "<p class=\"verdict\">Pruning left the answer as it was."
    if not losses:
        none = " No sentence that the full model’s answer attends to was dropped."
        return f"{head}{none if not changed else none + ' The change comes from elsewhere.'}</p>"
    gone = "Lost" if changed else "Dropped"
    items = "".join(
        f"<li>{gone} at layer {loss.layer}: “{escape(_short(document[slice(*loss.sentence)]))}” "
        f"<span>{percent(loss.share)} of what the answer attends to in the document from there on</span></li>"
        for loss in losses
    )
    return f'{head}</p><ul class="losses">{items}</ul>'


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST else words[:LONGEST] + " …"


def _share(value: float) -> str:
    return percent(float(value)) if np.isfinite(value) else DASH
