"""The document with what happened to its text: shaded by how many layers it survived, or by one layer.

Neighbouring tokens of the same fate share one element, so a document cut into blocks needs few of them;
which token a character belongs to travels as one compact table that `assets/js/document.js` searches.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span
from viz.figures.kept_map import KeptMap
from viz.figures.table import Table
from viz.figures.words import escape, percent, plural

LEVELS = 6  # shades a reader can still tell apart
_CHUNK = 4000  # characters between two places where the browser may skip what is off screen
_LONG = 200_000  # characters from which it may; shorter text is laid out whole, so that it prints


@dataclass(frozen=True)
class TextRun:
    """Characters [start, end) of the document, all of one fate.

    Attributes:
        token: first prompt token of the run; -1 for text that no token covers.
        level: shade, 0 (dropped first) to the number of shades less one.
        evidence: whether it is part of the evidence.
    """

    start: int
    end: int
    token: int
    level: int
    evidence: bool


@dataclass(frozen=True)
class Shading:
    """Shade of every prompt token and what each shade means.

    Attributes:
        levels: int [N].
        survived: mean share of the layers survived, per shade.
        stages: layers at which each shade's tokens stop, for the "entering layer" views; empty where shades
            do not follow the stages one to one.
    """

    levels: NDArray[np.int64]
    survived: tuple[float, ...]
    stages: tuple[int, ...]

    @classmethod
    def by_survival(cls, kept: KeptMap) -> Shading:
        """One shade per number of layers survived, merged into `LEVELS` equal steps where there are more."""
        survived = kept.survived
        distinct, levels = np.unique(survived, return_inverse=True)
        stages = tuple(int(layers) for layers in distinct)
        if len(distinct) > LEVELS:
            levels = np.minimum(survived * LEVELS // max(1, kept.layers), LEVELS - 1)
            stages = ()
        count = int(levels.max(initial=0)) + 1
        means = tuple(
            float(survived[levels == level].mean() / kept.layers) if (levels == level).any() else 0.0
            for level in range(count)
        )
        return cls(levels.reshape(-1), means, stages)

    @classmethod
    def at_layer(cls, kept: KeptMap, layer: int) -> Shading:
        """Two shades: dropped before `layer` or running in it."""
        alive = kept.alive[kept.stage_at(layer)]
        return cls(alive.astype(np.int64), (0.0, 1.0), ())


def text_runs(prompt: Prompt, levels: NDArray[np.int64], evidence: Sequence[Span] = ()) -> list[TextRun]:
    """The document as runs of equal fate, in order and without gaps or overlaps.

    Text between two tokens (white space that the tokenizer swallowed) goes with the token before it; a
    character that several tokens share goes with the first of them.
    """
    tokens, starts = _token_starts(prompt)
    length = prompt.document[1] - prompt.document[0]
    if not len(tokens):
        return [TextRun(0, length, -1, 0, False)] if length else []
    marked = np.zeros(len(prompt), np.bool_)
    for start, end in evidence:
        marked[start:end] = True
    fate = levels[tokens] * 2 + marked[tokens]
    firsts = np.concatenate(([0], np.flatnonzero(np.diff(fate)) + 1))
    bounds = [*starts[firsts].tolist(), length]
    bounds[0] = 0
    return [
        TextRun(start, end, int(tokens[first]), int(fate[first]) // 2, bool(fate[first] % 2))
        for first, start, end in zip(firsts, bounds, bounds[1:], strict=False)
        if end > start
    ]


def document_html(
    kept: KeptMap, prompt: Prompt, layer: int | None = None, key: str = "", title: str = "The document"
) -> str:
    """The whole figure: document, what the prompt adds after it, legend, choice of view, table.

    `layer` fixes the view to one layer; by default the reader chooses between all layers and the layers
    that follow each prune step. Evidence is taken from `kept.regions`. `key` tells two documents on one page
    apart.
    """
    shading = Shading.by_survival(kept) if layer is None else Shading.at_layer(kept, layer)
    runs = text_runs(prompt, shading.levels, kept.regions.evidence)
    text = prompt.text[prompt.document[0] : prompt.document[1]]
    mixes = "".join(f"--m{i}:{tint:.0f}%;" for i, tint in enumerate(_tints(shading)))
    if len(shading.survived) < 2:
        mixes += "--f0:var(--fig-ink);"  # nothing was dropped, so nothing is muted
    views = _views(kept, shading, f"doc-view-{key}")
    return (
        f'<figure class="fig doc" style="{mixes}">'
        f"<figcaption><strong>{escape(title)}</strong> {_caption(kept, layer)}</figcaption>{views}"
        f"{_legend(kept, shading, layer)}"
        f'<div class="doc-text{" long" if len(text) >= _LONG else ""}" tabindex="0" role="region" '
        f'aria-label="{escape(title)}, kept text marked" '
        f"{_token_table(prompt, text)}>{_chunks(runs, text)}</div>"
        f'<div class="doc-after"><span>The prompt goes on with</span>'
        f"<u>{escape(prompt.text[prompt.document[1] :].strip())}</u></div>"
        f"{document_table(kept, prompt).details()}</figure>"
    )


def document_table(kept: KeptMap, prompt: Prompt) -> Table:
    """How much of the document's text got how far: layers survived, tokens, share, how the text begins."""
    survived = kept.survived
    inside = np.array([span is not None for span in prompt.document_spans()], np.bool_)
    rows = []
    for layers in np.unique(survived[inside]):
        those = np.flatnonzero(inside & (survived == layers))
        start = prompt.spans[int(those[0])][0]
        sample = " ".join(prompt.text[start : start + 60].split())
        rows.append((int(layers), len(those), percent(len(those) / max(1, int(inside.sum()))), sample))
    return Table.of(
        "Document tokens by the number of layers they survived",
        ("Layers survived", "Tokens", "Share", "First such text"),
        rows,
    )


def _token_starts(prompt: Prompt) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens that begin a new character of the document, and where: both int [tokens], starts rising."""
    low, high = prompt.document
    spans = np.array(prompt.spans, np.int64).reshape(-1, 2)
    inside = np.flatnonzero((spans[:, 0] < high) & (spans[:, 1] > low))
    starts = np.maximum(spans[inside, 0] - low, 0)
    fresh = np.ones(len(starts), np.bool_)
    if len(starts):
        fresh[1:] = starts[1:] > np.maximum.accumulate(starts)[:-1]
    return inside[fresh], starts[fresh]


def _token_table(prompt: Prompt, text: str) -> str:
    """Attributes that let JavaScript find the token of a character: tokens and their UTF-16 offsets."""
    tokens, starts = _token_starts(prompt)
    wide = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32) > 0xFFFF
    starts = starts + np.concatenate(([0], np.cumsum(wide)))[starts]
    packed = np.stack([tokens, starts]).astype("<u4").tobytes()
    return f'data-count="{len(tokens)}" data-table="{base64.b64encode(packed).decode("ascii")}"'


def _chunks(runs: Sequence[TextRun], text: str) -> str:
    """The runs inside blocks that end at line ends, so that the browser lays out only what is on screen."""
    out, opened, begun = ['<div class="doc-chunk">'], 0, False
    for run in runs:
        start = run.start
        while start < run.end:
            end = run.end
            if run.end - opened > _CHUNK:
                line = text.find("\n", max(start, opened + _CHUNK), run.end)
                end = run.end if line < 0 else line + 1
            if begun and start - opened >= _CHUNK and text[start - 1] == "\n":
                out.append('</div><div class="doc-chunk">')
                opened = start
            mark = " ev" if run.evidence else ""
            out.append(f'<span class="s{run.level}{mark}" data-token="{run.token}">{escape(text[start:end])}</span>')
            start, begun = end, True
    out.append("</div>")
    return "".join(out)


def _tints(shading: Shading) -> list[float]:
    """Opacity in percent of the blue behind each shade: none where text was dropped first, and at most what
    still lets ink be read on it (contrast above 7 in both themes)."""
    return [0.0 if not i and len(shading.survived) > 1 else 34 * s * s for i, s in enumerate(shading.survived)]


def _caption(kept: KeptMap, layer: int | None) -> str:
    if layer is not None:
        return f"Text that runs in layer {layer} is marked."
    if len(kept.stages) < 2:
        return "Nothing was dropped."
    return "The bluer, the more layers the text survived."


def _views(kept: KeptMap, shading: Shading, name: str) -> str:
    """Radio buttons that switch the view by style sheet alone (`figures.css`), one per prune step."""
    steps = [stage.first for stage in kept.stages if stage.pruning is not None]
    if not shading.stages or not steps or len(steps) != len(shading.stages) - 1:
        return ""
    choices = [("all", "All layers"), *((str(i), f"From layer {first}") for i, first in enumerate(steps, 1))]
    inner = "".join(
        f'<label><input type="radio" name="{escape(name)}" value="{value}"{" checked" if value == "all" else ""}>'
        f"{text}</label>"
        for value, text in choices
    )
    return f'<div class="fig-tools" role="radiogroup" aria-label="Which layers to show">{inner}</div>'


def _legend(kept: KeptMap, shading: Shading, layer: int | None) -> str:
    if layer is not None:
        names = ["dropped", "kept"]
    elif shading.stages:
        names = [f"{plural(n, 'layer')}" for n in shading.stages]
    else:
        names = [f"≈ {share * kept.layers:.0f} layers" for share in shading.survived]
    inner = "".join(f'<span class="s{i}">{escape(name)}</span>' for i, name in enumerate(names))
    if kept.regions.evidence:
        inner += '<span class="ev">evidence</span>'
    return f'<div class="fig-legend doc-legend">{inner}</div>'
