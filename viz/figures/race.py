"""Both answers appearing at their recorded times, as an animated image for where no page can be opened.

It is the replay of `replay` once more, drawn by Pillow; as there, the sides start together here, and the figure says
whether they did.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from viz.figures.canvas import Canvas
from viz.figures.compare import FULL, PRUNED
from viz.figures.picture import lines
from viz.figures.raster import WIDTH
from viz.figures.replay import IN_TURN, RACED, TITLES
from viz.figures.theme import LIGHT, Palette
from viz.figures.words import seconds

PLAY_MS, HOLD_MS, FRAMES = 6_000, 3_000, 24
_MARGIN, _LINE = 24, 20
_HALF = (WIDTH - 3 * _MARGIN) / 2
_QUESTION_LINES, _ANSWER_LINES = 2, 6


def race_gif(run: RunResult, model: str, question: str, palette: Palette = LIGHT) -> bytes:
    """The race as a GIF that repeats: six seconds, whatever it took, and three on its end."""
    pen = Canvas(WIDTH, 1, palette)
    asked = lines(pen, question, WIDTH - 2 * _MARGIN, _QUESTION_LINES, 16)
    end = max((side.piece_at[-1] for side in run.sides if side.piece_at), default=0.0)
    moments = np.linspace(0.0, end, FRAMES).tolist() if end else [0.0]
    rows = max(len(lines(pen, side.text, _HALF, _ANSWER_LINES, 14)) for side in run.sides)
    heading = f"SlimInfer: full against pruned, {model}. {RACED if run.raced else IN_TURN}"
    height = 80 + _LINE * (len(asked) + rows) + _MARGIN
    *before, last = (
        _frame(run, [heading, *asked], moment, end, Canvas(WIDTH, height + _MARGIN, palette)) for moment in moments
    )
    colours = last.quantize(64)
    still = [frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in (*before, last)]
    out = io.BytesIO()
    lasting = [PLAY_MS // FRAMES] * len(before) + [HOLD_MS]
    still[0].save(out, "GIF", save_all=True, append_images=still[1:], duration=lasting, loop=0)
    return out.getvalue()


def _frame(run: RunResult, words: Sequence[str], moment: float, end: float, canvas: Canvas) -> Image.Image:
    """What had come by `moment`, of `end` seconds, under the `words`: a heading and the question's lines."""
    heading, *asked = words
    canvas.text(_MARGIN, 16, heading)
    canvas.text(WIDTH - _MARGIN, 16, seconds(moment), role="ink", size=14, anchor="ra")
    for at, line in enumerate(asked):
        canvas.text(_MARGIN, 40 + at * _LINE, line, role="ink", size=16, bold=True)
    top = 56 + _LINE * len(asked)
    for at, (side, role) in enumerate(zip(run.sides, (FULL, PRUNED), strict=True)):
        _lane(canvas, (_MARGIN + at * (_HALF + _MARGIN), top), side, role, (moment, end))
    return canvas.reduced()


def _lane(canvas: Canvas, place: tuple[float, float], side: SideResult, role: str, at: tuple[float, float]) -> None:
    """One side, its left and top at `place`; reading is drawn paler than writing."""
    (x, y), (moment, end), width = place, at, _HALF
    first, last = (side.piece_at[0], side.piece_at[-1]) if side.piece_at else (0.0, 0.0)
    canvas.text(x, y, TITLES[side.side], role="ink", size=14)
    if side.piece_at and moment >= first:
        canvas.text(x + width, y, f"first token at {seconds(first)}", anchor="ra")
    canvas.box((x, y + 24, x + width, y + 32), "dropped")
    if end:
        canvas.box((x, y + 24, x + width * min(moment, first) / end, y + 32), role, 0.45)
        canvas.box((x + width * first / end, y + 24, x + width * min(moment, last) / end, y + 32), role)
    shown = "".join(side.pieces[: sum(came <= moment for came in side.piece_at)])
    for index, line in enumerate(lines(canvas, shown, width, _ANSWER_LINES, 14)):
        canvas.text(x, y + 44 + index * _LINE, line, role="ink", size=14)
