"""Diffusion as it was measured on whole models before: files of the command `diffusion`, and their two curves."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sliminfer.assets import ASSETS
from viz.figures.chart import Axis, Band, Chart, Line, Rule, values
from viz.figures.table import Table
from viz.figures.words import count, percent, plural

if TYPE_CHECKING:  # the figures need only its arrays, not torch, which its room imports
    from sliminfer.diffusion.summary import DiffusionSummary

FOLDER = ASSETS / "benchmarks"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredDiffusion:
    """One model's summary, and in words where it comes from."""

    model: str
    source: str
    summary: DiffusionSummary

    @property
    def title(self) -> str:
        return f"{self.model}, {plural(self.summary.tokens, 'token')}"


def stored_diffusions(folder: Path = FOLDER) -> tuple[StoredDiffusion, ...]:
    """The summaries kept in `folder`, by file name; other files are passed over."""
    from sliminfer.diffusion.summary import DiffusionSummary

    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict) or "diffusion" not in data:
                continue
            summary = DiffusionSummary.from_dict(data["diffusion"])
            source = (
                f"{plural(summary.probes, 'passage')} of {', '.join(data['suites'])}, seed {data['seed']}, "
                f"on {data['device']} in {data['dtype']}"
            )
            found.append(StoredDiffusion(str(data["model"]), source, summary))
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s is passed over: %s", path.name, error)
    return tuple(found)


def stored_verdict(stored: StoredDiffusion) -> str:
    """What the paper's observation comes to on this model, as a sentence of plain text."""
    summary = stored.summary
    where, depth = summary.half_gone, summary.layers
    if where >= depth:
        return f"{stored.model} needs the passage itself up to its last layers: what it says has not spread."
    if where > 0.75 * depth:
        return (
            f"{stored.model} needs the passage itself for most of its depth: only from layer {where} of {depth} on is "
            "half of what it gives the answer found elsewhere."
        )
    return f"From layer {where} of {depth} on, {stored.model} finds half of what the passage says elsewhere."


def stored_removal_chart(stored: StoredDiffusion) -> Chart:
    """What removing the passage from layer l on costs, as a share of what its removal from the first layer costs."""
    summary = stored.summary
    layers = values(summary.removed_layers)
    low, median, high = (values(row) for row in summary.own_loss)
    random = values(summary.random_loss[1])
    rows = [
        (count(int(layer)), percent(own), f"{percent(least)} to {percent(most)}", percent(control), percent(free))
        for layer, own, least, most, control, free in zip(
            layers, median, low, high, random, summary.free_from, strict=True
        )
    ]
    return Chart(
        title=f"What removing the passage costs {stored.model}",
        note=f"Share of the loss of removing it from the first layer on. {stored_verdict(stored)}",
        x=Axis("removed from layer"),
        y=Axis("share of the loss", percent=True),
        marks=(
            Band("middle half of the passages", layers, low, high, "kept"),
            Line("random blocks, median", layers, random, "plain", "dash"),
            Line("the passage, median", layers, median, "kept", markers=True),
            Rule("nothing lost", 0.0, "fresh"),
        ),
        table=Table.of(
            "Share of the loss by the layer of removal",
            ("From layer", "The passage, median", "Middle half", "Random, median", "Passages free from here on"),
            rows,
        ),
    )


def stored_attention_chart(stored: StoredDiffusion) -> Chart:
    """How many times an even spread's share of the question's attention the passage has, layer by layer."""
    summary = stored.summary
    layers = values(range(summary.layers))
    low, median, high = (values(row) for row in summary.attention)
    rows = [
        (count(layer), f"{mid:.2f}", f"{least:.2f} to {most:.2f}")
        for layer, mid, least, most in zip(range(summary.layers), median, low, high, strict=True)
    ]
    return Chart(
        title="Attention on the passage",
        note="Times the share that an even spread would give it: the layers that find the passage stand out.",
        x=Axis("layer"),
        y=Axis("times an even spread", low=0.0),
        marks=(
            Band("middle half of the passages", layers, low, high, "kept"),
            Line("median", layers, median, "kept", markers=True),
            Rule("even spread", 1.0, "muted"),
        ),
        table=Table.of("Attention on the passage by layer", ("Layer", "Median", "Middle half"), rows),
    )
