"""The race as an animated image: as long as it says, each answer there when it came, and whole at the end."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageSequence

from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import prompt_of, run_of
from viz.figures.race import FRAMES, HOLD_MS, PLAY_MS, race_gif
from viz.figures.raster import WIDTH

CONFIG = SlimConfig.preset("paper", 12)
RUN = run_of(prompt_of("the harbour ledger lists every crate " * 120), CONFIG, 12)


def test_the_race_plays_once_through_and_repeats() -> None:
    gif = Image.open(io.BytesIO(race_gif(RUN, "demo", "Which crate?")))
    assert (gif.width, gif.info["loop"]) == (WIDTH, 0)
    lasting = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert sum(lasting) == PLAY_MS // FRAMES * (FRAMES - 1) + HOLD_MS
    assert len(lasting) > FRAMES // 4  # frames in which nothing changes are joined


def test_ink_is_only_added_while_answers_come() -> None:
    """Below the names, where the answers stand, a word that came stays."""
    gif = Image.open(io.BytesIO(race_gif(RUN, "demo", "Which crate?")))
    inked = [int((np.asarray(frame.convert("L"))[-80:] < 128).sum()) for frame in ImageSequence.Iterator(gif)]
    assert inked == sorted(inked)
    assert inked[0] < inked[-1]


def test_a_run_without_an_answer_is_one_frame() -> None:
    gif = Image.open(io.BytesIO(race_gif(RunResult(), "demo", "w" * 100_000)))
    assert getattr(gif, "n_frames", 1) == 1
