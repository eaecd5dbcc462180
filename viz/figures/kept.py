"""The kept-token map as HTML: layers down, original positions across, blue where tokens were kept.

The cells are one stretched PNG; axes, rules and strips are HTML around it, so that text stays sharp and
colours follow the page. `assets/js/kept.js` adds the cursor, the zoom and the links to the document; what
it shows it asks of Python through the page's server functions:

    kept_panel({key, start, end, width}) -> panel_html(...)
    kept_cell({key, layer, position})    -> cell(...)
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from sliminfer.model.prompts import Prompt
from viz.figures.grid import png_data
from viz.figures.kept_axes import layer_labels, legend, position_labels, rules, shares, strips, waiting
from viz.figures.kept_map import KeptMap, Stage, kept_tile
from viz.figures.table import Table
from viz.figures.words import count, escape, number, percent, plural

WIDTH = 1024  # columns of the first drawing, before the browser has told how wide it really is
_HEIGHT = 352  # pixels that the layers share
_AROUND = 48  # characters of text shown on either side of a token


def kept_html(kept: KeptMap, key: str = "", title: str = "Kept tokens") -> str:
    """The whole figure. `key` is handed back by the browser's calls to the server functions."""
    return (
        f'<figure class="fig kept" data-key="{escape(key)}" data-tokens="{kept.tokens}" '
        f'data-layers="{kept.layers}">'
        f"<figcaption><strong>{escape(title)}</strong> {_summary(kept)}</figcaption>"
        f"{_toolbar()}"
        f'<div class="kept-panel">{panel_html(kept, 0, kept.tokens)}</div>'
        f"{legend(kept)}"
        '<output class="kept-readout">Point at the map to see a token; drag across it to zoom in; '
        "click to find the token in the document.</output>"
        f"{kept_table(kept).details()}</figure>"
    )


def panel_html(kept: KeptMap, start: int, end: int, width: int = WIDTH) -> str:
    """The drawing itself for positions [start, end), without caption, legend and table."""
    tile = kept_tile(kept, (0, kept.layers), (start, end), width)
    start, end = tile.positions
    row = max(3, min(16, _HEIGHT // kept.layers))
    label = (
        f"Kept-token map, layers 0 to {kept.layers - 1}, positions {count(start)} to {count(end - 1)}, "
        f"{plural(tile.bin, 'token')} per column. " + _in_words(kept)
    )
    return (
        f'<div class="kept-grid" data-start="{start}" data-end="{end}" data-bin="{tile.bin}" '
        f'data-extent="{tile.extent}">'
        f"{strips(kept, tile)}"
        f'<div class="kept-ylabels" aria-hidden="true">{layer_labels(kept, row)}</div>'
        f'<div class="kept-plot" style="height:{row * kept.layers}px" tabindex="0" role="group" '
        f'aria-label="{escape(label)} Arrow keys move the cursor, plus and minus zoom, Enter finds the token.">'
        f"{_image(tile.cells_png(), 'kept-cells')}{waiting(kept)}{rules(kept)}"
        '<div class="kept-brush" hidden></div><div class="kept-mark" hidden></div></div>'
        f'<div class="kept-shares" aria-hidden="true">{shares(kept, row)}</div>'
        '<div class="kept-name">layers survived</div>'
        f'<div class="kept-strip kept-survived">{_image(tile.survived_png(), "kept-cells")}</div><div></div>'
        f'<div></div><div class="kept-xaxis" aria-hidden="true">{position_labels(tile)}</div><div></div>'
        "</div>"
    )


def kept_table(kept: KeptMap) -> Table:
    """One row per stage: its layers, the tokens they ran over, their share of the prompt, what began it."""
    rows = [
        (
            _layer_span(stage),
            stage.tokens,
            percent(stage.tokens / kept.tokens),
            _began(stage),
        )
        for stage in kept.stages
    ]
    return Table.of(
        f"Tokens kept per layer, of a prompt of {plural(kept.tokens, 'token')}",
        ("Layers", "Tokens kept", "Share", "Pruned by"),
        rows,
    )


class Cell(TypedDict):
    """What is known of one position at one layer, as plain JSON data; None where it does not apply."""

    token: str
    before: str
    after: str
    position: int
    layer: int
    kept: bool | None
    survived: int
    block: int | None
    score: float | None
    rank: int | None
    ranked: int | None
    threshold: float | None
    forced: bool
    text: str


def cell(kept: KeptMap, prompt: Prompt, layer: int, position: int) -> Cell:
    """The token at `position` and what the last prune step up to `layer` made of it.

    Out-of-range layers and positions are clipped. `rank` is 1 for the best of the `ranked` blocks that had
    a score. `text` is the whole as one line for the readout.
    """
    position = min(max(0, position), kept.tokens - 1)
    layer = min(max(0, layer), kept.layers - 1)
    start, end = prompt.spans[position]
    known = layer < kept.done
    stage = kept.stage_at(layer) if known else len(kept.stages) - 1
    found = Cell(
        token=prompt.text[start:end],
        before=_words_before(prompt.text, start),
        after=_words_after(prompt.text, end),
        position=position,
        layer=layer,
        kept=bool(kept.alive[stage, position]) if known else None,
        survived=int(kept.survived[position]) if kept.stages else 0,
        block=None,
        score=None,
        rank=None,
        ranked=None,
        threshold=None,
        forced=False,
        text="",
    )
    _add_score(found, kept.stages[stage])
    gone = known and stage > 0 and not kept.alive[stage - 1, position]
    found["text"] = _readout(found, gone)
    return found


def _words_before(text: str, end: int) -> str:
    """Up to `_AROUND` characters before `end`, beginning with a whole word where there is one."""
    begin = max(0, end - _AROUND)
    piece = text[begin:end]
    cut = piece.find(" ") + 1 if begin else 0
    return f"… {piece[cut:]}" if begin else piece


def _words_after(text: str, start: int) -> str:
    """Up to `_AROUND` characters from `start`, ending with a whole word where there is one."""
    piece = text[start : start + _AROUND]
    if start + _AROUND >= len(text):
        return piece
    cut = piece.rfind(" ")
    return f"{piece[:cut] if cut > 0 else piece} …"


def _add_score(found: Cell, stage: Stage) -> None:
    step = stage.pruning
    if step is None:
        return
    block = found["position"] // step.block_size
    found["block"] = block
    found["forced"] = block in step.forced
    if step.scores is None:
        return
    score = float(step.scores[block])
    if np.isfinite(score):
        finite = step.scores[np.isfinite(step.scores)]
        found["score"] = score
        found["rank"] = int((finite > score).sum()) + 1
        found["ranked"] = len(finite)
        found["threshold"] = float(step.threshold) if np.isfinite(step.threshold) else None


def _readout(found: Cell, gone: bool) -> str:
    fate = {True: "kept", False: "dropped", None: "not run yet"}[found["kept"]]
    parts = [f"position {count(found['position'])}", f"layer {found['layer']}: {fate}"]
    if found["forced"]:
        parts.append("always kept")
    if gone:
        parts.append("gone before this prune step")
    if found["score"] is not None:
        parts.append(f"block {found['block']} scored {number(found['score'])}")
        parts.append(f"rank {count(found['rank'] or 0)} of {count(found['ranked'] or 0)}")
    if found["threshold"] is not None:
        parts.append(f"threshold {number(found['threshold'])}")
    parts.append(f"survived {plural(found['survived'], 'layer')}")
    return " · ".join(parts)


def _summary(kept: KeptMap) -> str:
    return f"{plural(kept.tokens, 'token')} across, {plural(kept.layers, 'layer')} down."


def _in_words(kept: KeptMap) -> str:
    return "; ".join(f"{_layer_span(s)} kept {percent(s.tokens / kept.tokens)}" for s in kept.stages) + "."


def _layer_span(stage: Stage) -> str:
    last = stage.end - 1
    return f"Layer {stage.first}" if last <= stage.first else f"Layers {stage.first}–{last}"


def _began(stage: Stage) -> str:
    step = stage.pruning
    if step is None:
        return "the whole prompt"
    dropped = step.alive_before - len(step.kept)
    if step.layer == 0:
        return f"a first reading of the whole prompt, {plural(dropped, 'token')} dropped before the second"
    return f"prune step at layer {step.layer}, {plural(dropped, 'token')} dropped"


def _image(png: bytes, name: str) -> str:
    return f'<img class="{name}" alt="" draggable="false" src="{png_data(png)}">'


def _toolbar() -> str:
    buttons = (("in", "Zoom in"), ("out", "Zoom out"), ("left", "Earlier"), ("right", "Later"), ("all", "Whole prompt"))
    inner = "".join(f'<button type="button" data-zoom="{name}">{text}</button>' for name, text in buttons)
    return f'<div class="fig-tools" role="toolbar" aria-label="Zoom of the kept-token map">{inner}</div>'
