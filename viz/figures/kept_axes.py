"""What stands around the cells of the kept-token map: axes, rules, strips and legend, as HTML."""

from __future__ import annotations

from sliminfer.schedule.blocks import Span
from viz.figures.kept_map import KeptMap, Tile
from viz.figures.words import count, percent, plural


def strips(kept: KeptMap, tile: Tile) -> str:
    """Thin bands above the cells: what is always kept, the question, the evidence."""
    regions = kept.regions
    rows = [
        ("always kept", [("sinks", regions.sinks), ("local", regions.local)]),
        ("question", [("question", regions.question)]),
        ("evidence", [("evidence", span) for span in regions.evidence]),
        ("by hand", [(f"hand-{kind}", span) for kind, spans in _hands(kept) for span in spans]),
    ]
    drawn = []
    for name, spans in rows:
        if any(end > start for _, (start, end) in spans):
            inner = "".join(_segment(kind, span, tile) for kind, span in spans)
            drawn.append(f'<div class="kept-name">{name}</div><div class="kept-strip">{inner}</div><div></div>')
    return "".join(drawn)


def _hands(kept: KeptMap) -> tuple[tuple[str, tuple[Span, ...]], ...]:
    """What was settled by hand, by kind."""
    keep, drop = kept.regions.by_hand
    return ("keep", keep), ("drop", drop)


def _segment(kind: str, span: Span, tile: Tile) -> str:
    start, end = max(span[0], tile.positions[0]), min(span[1], tile.positions[1])
    if end <= start:
        return ""
    left, width = _across(start, tile), 100 * (end - start) / tile.extent
    return f'<i class="kept-{kind}" style="left:{left:.3f}%;width:{width:.3f}%"></i>'


def _across(position: int, tile: Tile) -> float:
    return 100 * (position - tile.positions[0]) / tile.extent


def layer_labels(kept: KeptMap, row: int) -> str:
    """Layer numbers at the left, as many as fit; prune layers always, by name. `row` is pixels per layer."""
    pruned = set(kept.ruled)
    every = max(1, -(-16 // row))
    step = next(size for size in (1, 2, 4, 5, 8, 10, 16, 20, 32) if size >= every)
    out, last = [], -99.0
    wanted = sorted({*range(0, kept.layers, step), kept.layers - 1} | pruned)
    for layer in wanted:
        near_rule = any(0 < abs(layer - p) * row < 16 for p in pruned) and layer not in pruned
        if near_rule or (layer - last) * row < 14:
            continue
        last = layer
        text = f"<b>prune {layer}</b>" if layer in pruned else str(layer)
        out.append(f'<span style="top:{(layer + 0.5) * row:.1f}px">{text}</span>')
    return f'<span class="kept-axis">layer</span>{"".join(out)}'


def shares(kept: KeptMap, row: int) -> str:
    """Share of the prompt kept, at the right: a bar per stage and its percentage where there is room."""
    bars, labels, last = [], [], -99.0
    for stage in kept.stages:
        share = stage.tokens / kept.tokens
        top, height = stage.first * row, (stage.end - stage.first) * row
        bars.append(f'<i style="top:{top}px;height:{height}px;width:{100 * share:.2f}%"></i>')
        middle = top + height / 2
        if middle - last >= 15:
            last = middle
            labels.append(f'<span style="top:{middle:.1f}px">{percent(share)}</span>')
    return "".join(bars + labels)


def rules(kept: KeptMap) -> str:
    """A line across the cells at each prune step."""
    return "".join(f'<i class="kept-rule" style="top:{100 * layer / kept.layers:.3f}%"></i>' for layer in kept.ruled)


def waiting(kept: KeptMap) -> str:
    """A veil over the layers that have not run yet."""
    if kept.done >= kept.layers:
        return ""
    return f'<div class="kept-waiting" style="top:{100 * kept.done / kept.layers:.3f}%"></div>'


def position_labels(tile: Tile) -> str:
    """About five ticks of the position axis, and its title with the size of a column."""
    start, end = tile.positions
    step = _nice_step((end - start) / 5)
    out = []
    for position in range(-(-start // step) * step, end, step):
        left = _across(position, tile)
        if left <= 96:
            edge = ' class="edge"' if left < 3 else ""
            out.append(f'<span{edge} style="left:{left:.3f}%">{count(position)}</span>')
    axis = f"original position, {plural(tile.bin, 'token')} per column"
    return "".join(out) + f'<span class="kept-axis">{axis}</span>'


def _nice_step(least: float) -> int:
    """Smallest power of two at least `least`: block and context sizes are powers of two, so ticks meet them."""
    step = 1
    while step < least:
        step *= 2
    return step


def legend(kept: KeptMap) -> str:
    """What the colours mean, of those that appear."""
    regions = kept.regions
    items = [("all", "kept"), ("none", "dropped")]
    for name, span, text in (
        ("sinks", regions.sinks, "sinks"),
        ("local", regions.local, "local window"),
        ("question", regions.question, "question"),
        ("evidence", regions.evidence[0] if regions.evidence else (0, 0), "evidence"),
    ):
        if span[1] > span[0]:
            items.append((name, text))
    for kind, spans in _hands(kept):
        if spans:
            items.append((f"hand-{kind}", "kept by hand" if kind == "keep" else "dropped by hand"))
    if kept.ruled:
        items.append(("rule", "prune step"))
    inner = "".join(f'<span><i class="kept-{name}"></i>{text}</span>' for name, text in items)
    return f'<div class="fig-legend">{inner}</div>'
