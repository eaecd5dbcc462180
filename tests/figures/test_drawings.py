"""Drawings of every kind: within bounds, faithful to their data, and drawn alike as HTML, PNG and Plotly."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sliminfer.cache.planner import Residency
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import diffusion_of, long_prompt, prune_events, run_of, timeline_of
from viz.figures.chart import Axis, Band, Chart, Line, Points, Rule, values
from viz.figures.compare import memory_stack, promised, repeats, ttft_split
from viz.figures.diffusion import attention_chart, finding, removal_chart, similarity_grid
from viz.figures.grid import Grid, cells_png, share_levels
from viz.figures.kept_grid import kept_grid
from viz.figures.kept_map import KeptMap
from viz.figures.methods import MethodRun, Outcome, accuracy_chart, methods_grid, methods_table
from viz.figures.plotly_chart import plotly_figure
from viz.figures.raster import figure_png
from viz.figures.residency import bytes_chart, in_words, residency_grid, residency_table
from viz.figures.table import Table
from viz.figures.theme import DARK, LIGHT, Palette, rgb, stylesheet, variables

CONFIG = SlimConfig.preset("paper", 12)
PROMPT = long_prompt(1024)
RUN = run_of(PROMPT, CONFIG, 12)
KEPT = KeptMap.from_side(RUN.pruned, CONFIG, [(500, 520)])
TIMELINE, DIFFUSION = timeline_of(), diffusion_of()
OUTCOMES = [
    Outcome("full", "", 1.0, 1.1),
    *(Outcome(name, f"4:{keep}", best - 0.3 + keep * 0.6, 0.3 + keep)
      for name, best in (("sliminfer", 1.0), ("fastkv", 0.9), ("streaming", 0.3), ("random", 0.3), ("lazyllm", 0.8))
      for keep in (0.1, 0.25, 0.5)),
]  # fmt: skip
FULL, PRUNED = RUN.full.metrics, RUN.pruned.metrics
assert FULL is not None
assert PRUNED is not None
assert RUN.comparison is not None

GRIDS = {
    "kept": kept_grid(KEPT),
    "residency": residency_grid(TIMELINE),
    "methods": methods_grid({"full": KeptMap.of(1024, 12, []), "sliminfer": KEPT}),
    "similarity": similarity_grid(DIFFUSION),
}
CHARTS = {
    "bytes": bytes_chart(TIMELINE),
    "accuracy": accuracy_chart(OUTCOMES, Outcome("sliminfer", "mine", 0.9, 0.4), join="front"),
    "attention": attention_chart(DIFFUSION),
    "removal": removal_chart(DIFFUSION),
}
BARS = {
    "ttft": ttft_split(FULL, PRUNED),
    "memory": memory_stack(FULL, PRUNED),
    "promised": promised(RUN.comparison),
    "repeats": repeats([FULL] * 3, [PRUNED] * 3),
}


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", [*GRIDS, *CHARTS, *BARS])
def test_every_figure_becomes_a_png_with_something_on_it(name: str, palette: Palette) -> None:
    figure = {**GRIDS, **CHARTS, **BARS}[name]
    image = Image.open(io.BytesIO(figure_png(figure, palette)))
    assert image.width == 2000
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert tuple(pixels[0]) == rgb(palette.surface)
    drawn = (pixels != np.array(rgb(palette.surface))).any(axis=1).mean()
    assert 0.005 < drawn < 0.9
    edges = np.concatenate([np.asarray(image)[:, :8].reshape(-1, 3), np.asarray(image)[:, -8:].reshape(-1, 3)])
    assert (edges == np.array(rgb(palette.surface))).all()  # nothing runs off the sides


@pytest.mark.parametrize("name", [*GRIDS, *BARS])
def test_every_html_figure_has_words_and_a_table(name: str) -> None:
    soup = BeautifulSoup({**GRIDS, **BARS}[name].html(), "html.parser")
    drawing = soup.select_one('[role="img"]')
    assert drawing is not None
    assert len(str(drawing["aria-label"])) > 20
    rows = soup.select("table tbody tr")
    assert rows
    assert all(row.select_one('th[scope="row"]') for row in rows)


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_plain_json_for_plotly(name: str) -> None:
    chart = CHARTS[name]
    data = json.loads(plotly_figure(chart).to_json())
    assert data["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
    drawn = [trace["name"] for trace in data["data"]]
    assert drawn == [mark.name for mark in chart.marks if not isinstance(mark, Rule)]
    assert chart.table.rows


@pytest.mark.parametrize("name", CHARTS)
def test_limits_hold_every_mark(name: str) -> None:
    chart = CHARTS[name]
    (x_low, x_high), (y_low, y_high) = chart.limits()
    for mark in chart.marks:
        if isinstance(mark, Line | Points):
            assert (mark.x >= x_low).all()
            assert (mark.x <= x_high).all()
            assert (mark.y >= y_low).all()
            assert (mark.y <= y_high).all()


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=12),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_any_numbers_can_be_charted(numbers: list[float], log: bool) -> None:
    y = values(numbers)
    y = np.where(np.abs(y) > 1e12, np.nan, y)
    x = np.arange(1, len(y) + 1, dtype=np.float64)
    marks = (
        Line("a", x, y, "kept", "dash", steps=True),
        Band("b", x, y, y, "warm"),
        Points("c", x, y, ("",) * len(y), "ink", joined=True),
    )
    chart = Chart("t", "n", Axis("x"), Axis("y", log=log), marks, Table.of("t", ("a",), [(1,)]))
    (_, _), (low, high) = chart.limits()
    assert low < high
    assert math.isfinite(low)
    assert math.isfinite(high)
    figure_png(chart)


def test_probes_still_running_leave_gaps() -> None:
    """Diffusion streams: what is not known yet is NaN."""
    partial = diffusion_of()
    for name in ("removed_logprob", "random_median", "random_low", "random_high"):
        getattr(partial, name)[4:] = np.nan
    partial.attention_share[:] = np.nan
    partial.similarity[2:] = np.nan
    partial.input_removed_logprob = math.nan
    for chart in (removal_chart(partial), attention_chart(partial)):
        figure_png(chart)
        assert "NaN" not in plotly_figure(chart).to_json()
        assert "nan" not in chart.table.html().lower()
    assert (similarity_grid(partial).cells[2:] == 0).all()


def test_the_finding_names_the_first_layer_without_loss() -> None:
    result = diffusion_of()
    words = BeautifulSoup(finding(result), "html.parser").get_text()
    lost = result.full_logprob - result.removed_logprob
    first = int(words.split("From layer ")[1].split()[0])
    at = result.removed_layers.tolist().index(first)
    assert (lost[at:] <= 0.1 * lost[0]).all()
    assert lost[at - 1] > 0.1 * lost[0]
    result.removed_logprob[:] = result.full_logprob - 0.2
    assert "does not rest on this passage" in finding(result)
    result.removed_logprob[:] = result.full_logprob - 5
    assert "up to its last layers" in finding(result)
    result.removed_logprob[4:] = np.nan
    assert finding(result) == ""


def test_cells_become_pixels_one_to_one() -> None:
    shares = np.linspace(0, 1, 60, dtype=np.float32).reshape(5, 12)
    image = Image.open(io.BytesIO(cells_png(share_levels(shares)))).convert("RGBA")
    assert image.size == (12, 5)
    assert np.allclose(np.asarray(image)[..., 3] / 255, shares, atol=1 / 255)


def test_the_kept_grid_says_what_the_map_says() -> None:
    grid = GRIDS["kept"]
    assert grid.cells.shape[0] == 12
    assert [row for row, _ in grid.rules] == [step.layer for step in CONFIG.steps]
    assert grid.below is not None
    assert grid.end >= KEPT.tokens


def test_residency_rows_add_up_to_the_blocks() -> None:
    small = timeline_of(blocks=40, steps=20)
    grid = residency_grid(small)
    expected = np.concatenate([stage.states for stage in small.stages])
    assert grid.cells.shape == expected.shape  # few enough blocks: one row each
    assert ((grid.cells == 255) == (expected == Residency.LOADING)).all()
    assert ((grid.cells == 254) == (expected == Residency.DEVICE)).all()
    loads = sum(int(row[5]) for row in residency_table(small).rows)
    assert loads == int((expected == Residency.LOADING).sum())
    assert in_words(small).startswith(f"{small.swaps} swaps")


def test_many_blocks_are_averaged_not_dropped() -> None:
    big = timeline_of(blocks=1000, steps=30)
    grid = residency_grid(big)
    share = np.mean([(stage.states != Residency.HOST).mean() for stage in big.stages])
    drawn = np.where(grid.cells == 255, 254, grid.cells).astype(float) / 254
    assert drawn.mean() == pytest.approx(share, abs=0.05)


def test_a_timeline_without_swaps_says_so() -> None:
    assert "never changed" in in_words(timeline_of(steps=4))


def test_the_chart_says_of_exactly_what_none_beats_that_none_does() -> None:
    rows = accuracy_chart([*OUTCOMES, replace(OUTCOMES[0], setting="the same again")]).table.rows
    for row, outcome in zip(rows, [*OUTCOMES, OUTCOMES[0]], strict=True):
        beaten = any(
            other.ttft_s <= outcome.ttft_s
            and other.accuracy >= outcome.accuracy
            and (other.ttft_s, other.accuracy) != (outcome.ttft_s, outcome.accuracy)
            for other in OUTCOMES
        )
        assert row[-1] == ("no" if beaten else "yes")


def test_methods_of_one_document_share_its_columns() -> None:
    maps = {
        name: KeptMap.of(1024, 12, prune_events(PROMPT, SlimConfig.preset(name, 12)))
        for name in ("gentle", "paper", "aggressive")
    }
    grid = methods_grid(maps)
    means = grid.cells.mean(axis=1)
    assert means[0] > means[1] > means[2]
    with pytest.raises(ValueError, match="at least one"):
        methods_grid({})
    table = methods_table([MethodRun("full", FULL, "yes"), MethodRun("ours", PRUNED, "yes", RUN.comparison)])
    assert [row[0] for row in table.rows] == ["full", "ours"]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_on_its_background(palette: Palette) -> None:
    def luminance(colour: str) -> float:
        parts = [c / 255 for c in rgb(colour)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert contrast(palette.ink, palette.surface) > 7
    assert contrast(palette.muted, palette.surface) > 4.5
    assert contrast(palette.kept, palette.dropped) > 3
    assert contrast(palette.warm, palette.kept) > 1.5


def test_the_style_sheet_knows_every_colour_it_uses() -> None:
    css = stylesheet()
    used = {part.split(")")[0] for part in css.split("var(--fig-")[1:]}
    assert used <= {part.split(":")[0] for part in variables(LIGHT).split("--fig-")[1:]}
    grid: Grid = GRIDS["kept"]
    assert all(hasattr(LIGHT, role) for role, _ in grid.legend)
