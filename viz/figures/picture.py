"""A run as one picture to pass on: the question, both answers, the four figures and what was kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.canvas import Canvas
from viz.figures.cards import Card, cards
from viz.figures.compare import FULL, PRUNED
from viz.figures.kept_grid import kept_grid
from viz.figures.kept_map import KeptMap
from viz.figures.raster import WIDTH, figure_png
from viz.figures.theme import LIGHT, Palette
from viz.figures.words import DASH, count

_MARGIN, _LINE, _GAP = 24, 20, 16
_QUESTION_LINES, _ANSWER_LINES = 4, 8  # what is longer ends in an ellipsis
_MOST_CHARACTERS = 4_000  # of a text that are looked at: no such number fits in the lines above


def picture_png(
    run: RunResult,
    config: SlimConfig,
    model: str,
    question: str,
    evidence: Sequence[Span] = (),
    palette: Palette = LIGHT,
) -> bytes:
    """The run as one PNG, as wide as every other figure; a run without a prompt has no map.

    `evidence` is in prompt tokens. Signs that Pillow's own font lacks are drawn as question marks.
    """
    pen = Canvas(WIDTH, 1, palette)
    half = (WIDTH - 3 * _MARGIN) / 2
    asked = lines(pen, question, WIDTH - 2 * _MARGIN, _QUESTION_LINES, 16)
    told = [lines(pen, side.error or side.text, half - 24, _ANSWER_LINES, 14) for side in run.sides]
    answers = 64 + _LINE * len(asked)
    figures = answers + 52 + _LINE * max(map(len, told))
    end = figures + 96
    prompt = run.pruned.prompt
    drawn = None
    if prompt is not None:
        drawn = figure_png(kept_grid(KeptMap.from_side(run.pruned, config, evidence)), palette)

    canvas = Canvas(WIDTH, end + (0 if drawn is None else Canvas.height_of(drawn)), palette)
    canvas.text(_MARGIN, 20, _about(run, model))
    for at, line in enumerate(asked):
        canvas.text(_MARGIN, 44 + at * _LINE, line, role="ink", size=16, bold=True)
    for at, (side, answer, role) in enumerate(zip(run.sides, told, (FULL, PRUNED), strict=True)):
        _answer(canvas, _MARGIN + at * (half + _MARGIN), answers, side, answer, role)
    for at, card in enumerate(cards(run)):
        _card(canvas, _MARGIN + at * (WIDTH - 2 * _MARGIN) / 4, figures, card)
    if drawn is not None:
        canvas.paste(drawn, end)
    return canvas.png()


def lines(pen: Canvas, text: str, width: float, most: int, size: int) -> list[str]:
    """`text` in up to `most` lines of `width` nominal pixels, broken between words where there are any."""
    found, line = list[str](), ""
    words = text[:_MOST_CHARACTERS].split()
    while words and len(found) <= most:
        word = words.pop(0)
        joined = f"{line} {word}".strip()
        if pen.text_width(joined, size) <= width:
            line = joined
        elif line:
            found.append(line)
            line = ""
            words.insert(0, word)
        else:  # one word alone is too wide
            lengths = range(1, len(word) + 1)
            fits = max(1, bisect_right(lengths, width, key=lambda n: pen.text_width(word[:n], size)))
            found.append(word[:fits])
            words.insert(0, word[fits:])
    found += [line] if line else []
    if len(found) <= most:
        return found
    last = found[most - 1]
    while pen.text_width(f"{last} …", size) > width:
        last = last[:-1]
    return [*found[: most - 1], f"{last} …"]


def _about(run: RunResult, model: str) -> str:
    metrics = run.pruned.metrics
    if metrics is None:
        return f"SlimInfer: full against pruned, {model}"
    return f"SlimInfer: full against pruned, {model}, {count(metrics.prompt_tokens)} prompt tokens on {metrics.device}"


def _answer(canvas: Canvas, x: float, y: float, side: SideResult, answer: Sequence[str], role: str) -> None:
    canvas.box((x, y, x + 4, y + 28 + _LINE * max(1, len(answer))), role)
    canvas.text(x + _GAP, y, "Full model" if side.side == "full" else "Pruned model")
    for at, line in enumerate(answer or ["No answer."]):
        canvas.text(x + _GAP, y + 24 + at * _LINE, line, role="ink", size=14)


def _card(canvas: Canvas, x: float, y: float, card: Card) -> None:
    canvas.text(x, y, card.name)
    canvas.text(x, y + 20, card.verdict or DASH, role="ink", size=18, bold=True)
    canvas.text(x, y + 48, f"{card.shown(card.full)} full, {card.shown(card.pruned)} pruned")
