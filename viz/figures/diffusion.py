"""How a span's information spreads into the rest of the prompt, as curves over layers and a map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from viz.figures.chart import Axis, Band, Chart, Line, Mark, Rule, values
from viz.figures.grid import SHARES, Grid, Strip, share_levels
from viz.figures.table import Cell, Table
from viz.figures.words import number, percent

if TYPE_CHECKING:  # the figures need only its arrays, not torch, which it imports
    from sliminfer.diffusion.result import DiffusionResult

LEAST_LOSS = 0.5  # nats; a span whose removal costs less than that is not what the answer rests on


def finding(result: DiffusionResult) -> str:
    """What the removals say, as one sentence of HTML; empty until the span's curve is complete.

    The model "can do without" the span from a layer on if no removal there or later costs more than a tenth of what
    the removal from the first layer costs.
    """
    lost = np.maximum(0, result.full_logprob - values(result.removed_logprob))
    if lost[0] < LEAST_LOSS:
        return (
            '<p class="verdict">The answer does not rest on this passage: without it from the first layer on, it loses '
            f"only <b>{lost[0]:.2f}</b> nats of its log-probability.</p>"
        )
    if not np.isfinite(lost).all():
        return ""
    layers = values(result.removed_layers)
    first = int(np.flatnonzero(lost > 0.1 * lost[0])[-1]) + 1
    if first >= len(layers) - 1:
        return '<p class="verdict">This model needs the passage itself up to its last layers.</p>'
    return (
        f'<p class="verdict">From layer <b>{int(layers[first])}</b> on, the passage is no longer needed: its removal '
        f"there costs the answer <b>{lost[first]:.2f}</b> nats of its log-probability, removed from the first layer on "
        f"<b>{lost[0]:.2f}</b>. By then, what it says has spread.</p>"
    )


def attention_chart(result: DiffusionResult) -> Chart:
    """Share of the local queries' attention that falls on the span, layer by layer."""
    layers = values(result.layers)
    share = values(result.attention_share)
    even = (result.span[1] - result.span[0]) / result.tokens
    return Chart(
        title="Attention on the span",
        note="Share of the question’s attention at each layer; the rule is what an even spread would give.",
        x=Axis("layer"),
        y=Axis("share of attention", percent=True, low=0.0),
        marks=(
            Line("attention on the span", layers, share, "kept", markers=True),
            Rule("even spread", even, "muted"),
        ),
        table=Table.of(
            "Attention on the span by layer",
            ("Layer", "Share"),
            [(int(layer), percent(float(value))) for layer, value in zip(layers, share, strict=True)],
        ),
    )


def removal_chart(result: DiffusionResult) -> Chart:
    """Log-probability of the answer when blocks are removed from layer l on, for every l.

    Where the curve of the span's own blocks meets the untouched one, later layers no longer need the span:
    its information has moved elsewhere. Random blocks of equal size are the control.
    """
    layers = values(result.removed_layers)
    rows: list[tuple[Cell, ...]] = [
        (int(layer), number(own), number(median), f"{number(low)} to {number(high)}")
        for layer, own, median, low, high in zip(
            layers.tolist(),
            values(result.removed_logprob).tolist(),
            values(result.random_median).tolist(),
            values(result.random_low).tolist(),
            values(result.random_high).tolist(),
            strict=True,
        )
    ]
    rows.append(("nothing removed", number(result.full_logprob), "", ""))
    rows.append(("removed from the input", number(result.input_removed_logprob), "", ""))
    marks: list[Mark] = [
        Band("random blocks, middle half", layers, values(result.random_low), values(result.random_high), "plain"),
        Line("random blocks, median", layers, values(result.random_median), "plain", "dash"),
        Line("the span’s blocks", layers, values(result.removed_logprob), "kept", markers=True),
    ]
    for name, value, role in (
        ("nothing removed", result.full_logprob, "fresh"),
        ("removed from the input", result.input_removed_logprob, "warm"),
    ):
        if math.isfinite(value):
            marks.append(Rule(name, value, role))
    return Chart(
        title="What removing the span costs",
        note="Log-probability of the full model’s answer when blocks are gone from a layer on.",
        x=Axis("removed from layer"),
        y=Axis("log-probability of the answer"),
        marks=tuple(marks),
        table=Table.of(
            "Log-probability of the answer by the layer of removal",
            ("From layer", "The span’s blocks", "Random, median", "Random, middle half"),
            rows,
        ),
    )


def similarity_grid(result: DiffusionResult) -> Grid:
    """How much of the span each position has taken up on entering each layer; what is not known yet is blank.

    Cells are the relative change that taking the span out makes to a position's state. Blue grows with it up to a
    level that one changed cell in a hundred exceeds; columns of the removed blocks, at 100 %, are left aside.
    """
    change = values(result.similarity)
    layers = len(change)
    others = change[:, ~(change[0] > 0)]  # nothing but the removed blocks has changed on entering layer 0
    known = others[others > 0]
    top = max(0.01, min(1.0, float(np.quantile(known, 0.99)))) if len(known) else 1.0
    rows: list[tuple[Cell, ...]] = [
        (layer, percent(float(row.mean())), percent(float(row[-1]))) for layer, row in enumerate(change)
    ]
    return Grid(
        title="Where the span’s information is",
        note="How much each position’s state changes, on entering a layer, if the span is taken out of the prompt.",
        cells=share_levels(np.clip(change / top, 0, 1).astype(np.float32)),
        levels=SHARES,
        rows=tuple(map(str, range(layers))),
        row_axis="layer",
        column_axis="original position",
        start=0,
        end=result.tokens,
        legend=(("kept", f"changes by {percent(top)} or more"), ("dropped", "does not change"), ("warm", "the span")),
        table=Table.of("Change by layer if the span is taken out", ("Layer", "Mean", "Last positions"), rows),
        strips=(Strip("the span", (("warm", result.span),)),),
    )
