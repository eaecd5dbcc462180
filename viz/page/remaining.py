"""How long a side still reads, from the speed of the layers it has run."""

from __future__ import annotations

import math

from viz.figures.words import seconds
from viz.page.live import LiveRun

LEAST_LAYERS = 2  # before that the speed is not known
LEAST_S = 2.0  # less is not worth a word


def remaining_s(run: LiveRun) -> float:
    """Seconds until the side that reads has read, if the tokens stay as many; NaN where that cannot be told."""
    side = run.view.latest
    if run.phase(side) != "reading" or side.layers_done < LEAST_LAYERS:
        return math.nan
    return run.now * side.alive[-1] * (side.layers - side.layers_done) / sum(side.alive)


def remaining(run: LiveRun) -> str:
    """The same in words; empty where it is not known or hardly any."""
    left = remaining_s(run)
    return f", about {seconds(float(math.ceil(left)))} to its first word" if left >= LEAST_S else ""
