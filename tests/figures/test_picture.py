"""A run as one picture: it opens, everything fits, and no text that a visitor may type breaks it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import prompt_of, run_of
from viz.figures.canvas import SCALE, Canvas
from viz.figures.compare import FULL, PRUNED
from viz.figures.kept_grid import kept_grid
from viz.figures.kept_map import KeptMap
from viz.figures.picture import lines, picture_png
from viz.figures.raster import WIDTH, figure_png
from viz.figures.theme import DARK, LIGHT, Palette, rgb

CONFIG = SlimConfig.preset("paper", 12)
RUN = run_of(prompt_of("the harbour ledger lists every crate " * 120), CONFIG, 12)
PEN = Canvas(1, 1, LIGHT)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_the_picture_ends_with_the_map_of_what_was_kept(palette: Palette) -> None:
    picture = opened(picture_png(RUN, CONFIG, "demo", "Which crate?", [(40, 60)], palette))
    kept = opened(figure_png(kept_grid(KeptMap.from_side(RUN.pruned, CONFIG, [(40, 60)])), palette))
    assert picture.width == kept.width == WIDTH * SCALE
    below = picture.crop((0, picture.height - kept.height, picture.width, picture.height))
    assert below.tobytes() == kept.tobytes()
    above = picture.crop((0, 0, picture.width, picture.height - kept.height))
    colours = {colour for _, colour in above.getcolors(1 << 24)}
    assert {rgb(getattr(palette, role)) for role in (FULL, PRUNED)} <= colours


def test_a_longer_question_takes_more_room_and_no_more_than_four_lines() -> None:
    asked = ("Which crate? " * times for times in (1, 20, 1000, 9000))
    heights = [opened(picture_png(RUN, CONFIG, "demo", question)).height for question in asked]
    assert heights[0] < heights[1] <= heights[2] == heights[3]


def test_a_run_that_has_not_begun_is_drawn_without_a_map() -> None:
    assert opened(picture_png(RunResult(), CONFIG, "demo", "")).height < 300 * SCALE


@given(st.text(max_size=400), st.integers(80, 900), st.integers(1, 6))
def test_every_line_fits_and_no_word_is_lost(text: str, width: int, most: int) -> None:
    found = lines(PEN, text, width, most, 14)
    assert len(found) <= most
    assert all(PEN.text_width(line, 14) <= width for line in found)
    if not (found and found[-1].endswith(" …")):
        assert "".join("".join(found).split()) == "".join(text.split())


def test_one_endless_word_is_broken() -> None:
    found = lines(PEN, "w" * 100_000, 500, 3, 14)
    assert len(found) == 3
    assert found[-1].endswith(" …")


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))
