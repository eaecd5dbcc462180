"""The kept-token map: what it shows is what the engine's events say, at every zoom."""

from __future__ import annotations

import io
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sliminfer.engine.events import BlocksPruned, LayerDone, PromptReady
from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.figures.synthetic import events_of, long_prompt, prompt_of, prune_events, run_of
from viz.figures.kept import cell, kept_html, kept_table, panel_html
from viz.figures.kept_map import KeptMap, Regions, kept_tile

LAYERS = 12
CONFIG = SlimConfig.preset("paper", LAYERS)


def map_of(tokens: int, config: SlimConfig = CONFIG, layers: int = LAYERS) -> KeptMap:
    return KeptMap.from_side(run_of(long_prompt(tokens), config, layers).pruned, config)


@pytest.mark.parametrize("tokens", [1000, 1024, 1025, 4095])
@pytest.mark.parametrize("width", [1, 7, 640, 5000])
def test_bins_cover_every_position_once(tokens: int, width: int) -> None:
    tile = kept_tile(map_of(tokens), (0, LAYERS), (0, tokens), width)
    assert tile.edges[0] == 0
    assert tile.edges[-1] == tokens
    sizes = np.diff(tile.edges)
    assert (sizes[:-1] == tile.bin).all()
    assert 0 < sizes[-1] <= tile.bin
    assert len(sizes) <= width
    assert tile.fractions.shape == (LAYERS, len(sizes))
    assert ((tile.fractions >= 0) & (tile.fractions <= 1)).all()
    assert ((tile.survived >= 0) & (tile.survived <= 1)).all()


@pytest.mark.parametrize("width", [3, 100, 2000])
def test_kept_tokens_per_layer_agree_with_the_run(width: int) -> None:
    run = run_of(long_prompt(1500), CONFIG, LAYERS)
    kept = KeptMap.from_side(run.pruned, CONFIG)
    tile = kept_tile(kept, (0, LAYERS), (0, 1500), width)
    counted = (tile.fractions * np.diff(tile.edges)).sum(axis=1)
    assert run.pruned.metrics is not None
    assert np.rint(counted).astype(int).tolist() == list(run.pruned.metrics.tokens_per_layer)
    assert kept.tokens_per_layer == list(run.pruned.metrics.tokens_per_layer)
    mean = (tile.survived * np.diff(tile.edges)).sum() * LAYERS
    assert mean == pytest.approx(sum(run.pruned.metrics.tokens_per_layer), rel=1e-4)


def test_a_tile_at_full_resolution_is_the_data() -> None:
    kept = map_of(700)
    tile = kept_tile(kept, (3, 9), (100, 400), 10_000)
    assert tile.bin == 1
    for row, layer in enumerate(range(3, 9)):
        alive = kept.alive[kept.stage_at(layer), 100:400]
        assert (tile.fractions[row] == alive).all()
    assert np.allclose(tile.survived * LAYERS, kept.survived[100:400])


def test_the_picture_holds_the_fractions_in_its_opacity() -> None:
    tile = kept_tile(map_of(900), (0, LAYERS), (0, 900), 50)
    image = Image.open(io.BytesIO(tile.cells_png())).convert("RGBA")
    assert image.size == (len(tile.edges) - 1, LAYERS)
    assert np.allclose(np.asarray(image)[..., 3] / 255, tile.fractions, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("layers", "positions"),
    [((-5, 99), (-10, 9999)), ((4, 4), (50, 50)), ((11, 2), (899, 3)), ((50, 60), (5000, 6000))],
)
def test_ranges_outside_the_map_are_clipped(layers: tuple[int, int], positions: tuple[int, int]) -> None:
    tile = kept_tile(map_of(900), layers, positions, 64)
    assert 0 <= tile.layers[0] < tile.layers[1] <= LAYERS
    assert 0 <= tile.positions[0] < tile.positions[1] <= 900
    assert np.isfinite(tile.fractions).all()


def test_layers_not_run_yet_are_unknown() -> None:
    prompt = long_prompt(500)
    kept = KeptMap.of(len(prompt), LAYERS, prune_events(prompt, CONFIG), done=6)
    tile = kept_tile(kept, (0, LAYERS), (0, 500), 100)
    assert np.isfinite(tile.fractions[:6]).all()
    assert np.isnan(tile.fractions[6:]).all()
    assert kept.survived.max() == 6
    assert cell(kept, prompt, 8, 0)["kept"] is None
    assert "kept-waiting" in kept_html(kept)


def test_a_map_before_the_first_layer_draws() -> None:
    kept = KeptMap.of(100, LAYERS, [], done=0)
    assert (kept.survived == 0).all()
    assert "kept-grid" in kept_html(kept)


def test_without_pruning_everything_survives() -> None:
    kept = KeptMap.of(100, LAYERS, [])
    assert (kept.survived == LAYERS).all()
    assert (kept_tile(kept, (0, LAYERS), (0, 100), 9).fractions == 1).all()
    assert len(kept_table(kept).rows) == 1


def test_a_cell_tells_rank_score_and_threshold() -> None:
    prompt = long_prompt(1200)
    kept = KeptMap.of(len(prompt), LAYERS, prune_events(prompt, CONFIG))
    step = kept.stages[1].pruning
    assert step is not None
    assert step.scores is not None
    for position in (0, 333, 640, 1199):
        found = cell(kept, prompt, step.layer, position)
        start, end = prompt.spans[position]
        assert found["token"] == prompt.text[start:end]
        assert found["score"] == pytest.approx(float(step.scores[position // CONFIG.block_size]))
        assert found["kept"] == (position in set(step.kept.tolist()))
        assert found["rank"] is not None
        assert 1 <= found["rank"] <= len(step.scores)
        if found["kept"] and not found["forced"]:
            assert found["score"] >= found["threshold"]
    best = int(np.nanargmax(step.scores)) * CONFIG.block_size
    assert cell(kept, prompt, step.layer, best)["rank"] == 1
    before = cell(kept, prompt, 0, 5)
    assert before["score"] is None
    assert before["kept"] is True


def test_a_cell_after_the_second_step_has_no_score_for_blocks_already_gone() -> None:
    prompt = long_prompt(1200)
    kept = KeptMap.of(len(prompt), LAYERS, prune_events(prompt, CONFIG))
    gone = int(np.flatnonzero(~kept.alive[1])[0])
    found = cell(kept, prompt, LAYERS - 1, gone)
    assert found["score"] is None
    assert found["kept"] is False
    assert "nan" not in found["text"]


def test_hostile_text_stays_text() -> None:
    prompt = prompt_of('<script>alert(1)</script> " onload="x ' + "word " * 300)
    kept = KeptMap.from_side(run_of(prompt, CONFIG, LAYERS).pruned, CONFIG)
    html = kept_html(kept, key='"><img src=x onerror=alert(1)>', title="<b>bold</b>")
    assert "<img src=x" not in html
    assert "<b>bold" not in html
    assert "<script" not in html


def test_regions_are_the_blocks_that_are_always_kept() -> None:
    prompt = long_prompt(1000)
    config = CONFIG.with_changes(sink=2, local=70)
    regions = Regions.of(len(prompt), config, prompt.question)
    kept = KeptMap.of(len(prompt), LAYERS, prune_events(prompt, config), regions)
    for start, end in (regions.sinks, regions.local, regions.question):
        assert end > start
        assert kept.alive[:, start:end].all()


def test_many_stages_and_one_token_draw() -> None:
    config = SlimConfig(steps=tuple(PruneStep(layer, 1 - layer / 100) for layer in range(1, 80)), block_size=1)
    assert "kept-grid" in panel_html(map_of(300, config, layers=80), 0, 300)
    tiny = KeptMap.of(1, 1, [])
    assert kept_tile(tiny, (0, 1), (0, 1), 800).fractions.tolist() == [[1.0]]
    assert "1 token" in kept_html(tiny)


def test_speed_hardly_depends_on_the_length() -> None:
    long = KeptMap.of(131_072, 80, prune_events(long_prompt(131_072), SlimConfig.preset("paper", 80)))
    best = math.inf
    for _ in range(3):
        begun = time.perf_counter()
        panel_html(long, 0, long.tokens, 4096)
        best = min(best, time.perf_counter() - begun)
    assert best < 0.5  # 24 ms on a quiet laptop core


def test_a_method_that_reads_twice_is_drawn_as_its_second_reading() -> None:
    prompt = long_prompt(800)
    step = replace(prune_events(prompt, CONFIG)[0], layer=0)
    kept = KeptMap.of(len(prompt), LAYERS, [step])
    assert kept.tokens_per_layer == [len(step.kept)] * LAYERS
    assert len(kept.stages) == 1
    assert cell(kept, prompt, 0, int(step.kept[-1]))["kept"] is True
    assert "second" in kept_html(kept)


def test_what_was_kept_may_be_told_late() -> None:
    """On a GPU the prune events follow the last layer: until then only layers that are known are drawn."""
    events = list(events_of(long_prompt(800), CONFIG, LAYERS))
    late = sorted(
        (
            event
            for event in events
            if event.side == "pruned" and isinstance(event, PromptReady | LayerDone | BlocksPruned)
        ),
        key=lambda event: isinstance(event, BlocksPruned),
    )
    side = SideResult("pruned")
    known = []
    for event in late:
        side = side.after(event)
        known.append(KeptMap.from_side(side, CONFIG).done)
    first = CONFIG.steps[0].layer
    assert max(known[:-2]) == first
    assert known[-1] == LAYERS
    assert tuple(KeptMap.from_side(side, CONFIG).tokens_per_layer) == side.alive
