"""Both answers replayed from their recorded times, as if the two sides had started together.

They did not run together (the two sides never share the machine), so the figure says that it is a replay.
`assets/js/replay.js` moves it; without JavaScript it shows the end, and where the visitor asks for reduced
motion nothing moves by itself and the slider alone sets the time.
"""

from __future__ import annotations

import json

from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from viz.figures.table import Cell, Table
from viz.figures.words import escape, seconds

_SPEEDS = (1, 2, 4, 16, 64)
_PATIENCE_S = 12.0  # the speed first offered brings the replay below this
IN_TURN = "In truth the two sides ran one after the other."
RACED = "So they ran: at the same time, each on a device of its own."
TITLES = {"full": "Full model", "pruned": "Pruned model"}


def replay_html(run: RunResult) -> str:
    """The figure; both sides must have at least one token, otherwise it is empty."""
    if not all(side.piece_at for side in run.sides):
        return ""
    end = max(side.piece_at[-1] for side in run.sides)
    data = {side.side: {"at": side.piece_at, "pieces": side.pieces} for side in run.sides}
    quick = next((n for n in _SPEEDS if end / n <= _PATIENCE_S), _SPEEDS[-1])
    speeds = "".join(f'<option value="{n}"{" selected" if n == quick else ""}>{n}× speed</option>' for n in _SPEEDS)
    return (
        f'<figure class="fig replay" data-end="{end:.4f}" data-replay="{escape(json.dumps(data))}">'
        "<figcaption><strong>Replay</strong> Both answers from their recorded times, started together. "
        f"{RACED if run.raced else IN_TURN}</figcaption>"
        '<div class="fig-tools"><button type="button" class="replay-play">Play</button>'
        f'<select class="replay-speed" aria-label="Speed of the replay">{speeds}</select>'
        f'<input class="replay-time" type="range" min="0" max="{end:.4f}" step="any" value="{end:.4f}" '
        'aria-label="Time in the replay">'
        f'<output class="replay-clock">{seconds(end)}</output></div>'
        f'<div class="replay-lanes">{"".join(_lane(side, end) for side in run.sides)}</div>'
        f"{replay_table(run).details()}</figure>"
    )


def replay_table(run: RunResult) -> Table:
    """When each token of both answers was there."""
    longest = max(len(side.pieces) for side in run.sides)
    rows: list[tuple[Cell, ...]] = []
    for index in range(longest):
        cells: list[Cell] = [
            cell
            for side in run.sides
            for cell in ((seconds(side.piece_at[index]), side.pieces[index]) if index < len(side.pieces) else ("", ""))
        ]
        rows.append((index + 1, *cells))
    return Table.of("When each answer token was there", ("Token", "Full at", "Full", "Pruned at", "Pruned"), rows)


def _lane(side: SideResult, end: float) -> str:
    first = 100 * side.piece_at[0] / end if end else 0.0
    last = 100 * side.piece_at[-1] / end if end else 0.0
    return (
        f'<section class="replay-lane {side.side}" data-side="{side.side}" aria-label="{TITLES[side.side]}, replay">'
        f"<h3>{TITLES[side.side]}<span>first token at {seconds(side.piece_at[0])}, "
        f"done at {seconds(side.piece_at[-1])}</span></h3>"
        f'<div class="replay-track" aria-hidden="true"><i class="read" style="width:{first:.2f}%"></i>'
        f'<i class="write" style="left:{first:.2f}%;width:{last - first:.2f}%"></i><b style="left:100%"></b></div>'
        f'<p class="replay-text">{escape(side.text)}</p></section>'
    )
