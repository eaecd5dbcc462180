"""A conversation in words and pictures: questions and answers, what each cost, and what each kept of the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from viz.figures.grid import SHARES, Grid, share_levels
from viz.figures.kept_map import KeptMap, kept_tile
from viz.figures.table import Table
from viz.figures.words import DASH, escape, percent, plural, seconds, size, times

WIDTH = 1024
Tokens: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Asked:
    """One turn as it is shown.

    Attributes:
        ttft_s: seconds to the first token without `read_s`; None while it is awaited.
        read_s: seconds that reading took for this turn; 0 where an earlier reading served.
        again_s: seconds that the first token would have taken, had the document been read again; None where no reading
            is held, so that this was so.
        reached: tokens of the prompt that reached the last layer, of all; None while that is open.
    """

    question: str
    answer: str
    ttft_s: float | None = None
    read_s: float = 0.0
    again_s: float | None = None
    reached: Tokens | None = None


def conversation_html(turns: Sequence[Asked], subject: str, held: tuple[int, int] | None) -> str:
    """All turns, oldest first, under a line about their subject; `held` are bytes of the reading and of the full KV.

    While a turn's answer comes it is shown as far as it has come.
    """
    about = f'<p class="about">{escape(subject)}{_held(held)}</p>'
    return about + '<ol class="talk">' + "".join(map(_turn, turns)) + "</ol>"


def conversation_table(turns: Sequence[Asked]) -> Table:
    """One row a turn: question, answer, seconds, tokens that reached the last layer."""
    rows = [
        (
            str(number),
            turn.question,
            turn.answer.strip(),
            DASH if turn.ttft_s is None else f"{turn.ttft_s:.3f}",
            f"{turn.read_s:.3f}",
            DASH if turn.again_s is None else f"{turn.again_s:.3f}",
            DASH if turn.reached is None else str(turn.reached[0]),
            DASH if turn.reached is None else str(turn.reached[1]),
        )
        for number, turn in enumerate(turns, 1)
    ]
    columns = ("Turn", "Question", "Answer", "TTFT, s", "Reading, s", "TTFT if read again, s", "Reached the last layer",
               "Prompt, tokens")  # fmt: skip
    return Table.of("Conversation", columns, rows)


def conversation_grid(turns: Sequence[tuple[str, KeptMap]], tokens: int) -> Grid:
    """One row a question, the latest last, over the first `tokens` positions, which all their prompts share.

    The bluer, the more layers a column's tokens survived. Raises ValueError where there is no turn.
    """
    if not turns:
        raise ValueError("nothing was asked: draw what was kept after the first answer")
    end = min(tokens, *(kept.tokens for _, kept in turns))
    tiles = [kept_tile(kept, (0, kept.layers), (0, end), WIDTH) for _, kept in turns]
    labels = [f"turn {number}" for number in range(1, len(turns) + 1)]
    shares = [percent(float(kept.survived[:end].mean()) / kept.layers) for _, kept in turns]
    rows = [(label, question, share) for label, (question, _), share in zip(labels, turns, shares, strict=True)]
    return Grid(
        title="What each question kept",
        note="One row a question, over the same document. The bluer, the more layers the tokens survived.",
        cells=share_levels(np.stack([tile.survived for tile in tiles])),
        levels=SHARES,
        rows=tuple(labels),
        row_axis="",
        column_axis=f"original position, {plural(tiles[0].bin, 'token')} per column",
        start=0,
        end=tiles[0].extent,
        legend=(("kept", "every layer"), ("dropped", "no layer")),
        table=Table.of("Mean share of the layers survived", ("Turn", "Question", "Share"), rows),
        remarks=tuple((row, row + 1, share) for row, share in enumerate(shares)),
    )


def _turn(turn: Asked) -> str:
    answer = escape(turn.answer.strip())
    said = answer or ("…" if turn.ttft_s is None else "<i>(an empty answer)</i>")
    return (
        f'<li><p class="asked">{escape(turn.question)}</p><p class="said">{said}</p>'
        f'<p class="about">{_cost(turn)}</p></li>'
    )


def _cost(turn: Asked) -> str:
    """What the turn cost, in a sentence or two; empty while it is awaited."""
    if turn.ttft_s is None:
        return ""
    told = f"First token after <b>{seconds(turn.ttft_s)}</b>"
    if turn.read_s:
        told += f", once the document was read, which took {seconds(turn.read_s)}."
    elif turn.again_s is not None:
        told += f"; with the document read again {seconds(turn.again_s)}, {times(turn.again_s / turn.ttft_s)} as long."
    else:
        told += ", reading the document for it."
    if turn.reached is not None:
        told += f" {turn.reached[0]:,} of {plural(turn.reached[1], 'token')} reached the last layer."
    return told


def _held(held: tuple[int, int] | None) -> str:
    if held is None:
        return ""
    mine, full = held
    return f" Held between questions: {size(mine)}, {percent(mine / full)} of the full model’s KV of {size(full)}."
