"""Grids, their tables and fronts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from sliminfer.evaluate.sweep import Grid, default_layers, on_front, parse_layers, table_rows, write_table
from sliminfer.schedule.config import PruneStep, SlimConfig


def test_the_grid_has_every_combination_that_a_method_can_follow() -> None:
    grid = Grid(parse_layers("3,4+8"), (0.5, 0.25), ("sliminfer", "fastkv"))
    labels = [variant.label for variant in grid.variants(SlimConfig(), 12)]
    assert labels == [
        "sliminfer 3:0.5", "sliminfer 3:0.25", "sliminfer 4:0.5,8:0.25", "sliminfer 4:0.25,8:0.125",
        "fastkv 3:0.5", "fastkv 3:0.25",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="empty"):
        Grid(((4, 8),), (0.5,), ("fastkv",)).variants(SlimConfig(), 12)
    with pytest.raises(ConfigError, match="layers 0 to 11"):
        Grid(((12,),), (0.5,), ("sliminfer",)).variants(SlimConfig(), 12)


@pytest.mark.parametrize("layers", [2, 3, 12, 32, 80])
def test_default_layers_exist_in_every_model(layers: int) -> None:
    for chosen in default_layers(layers):
        SlimConfig(steps=tuple(PruneStep(layer, 0.5) for layer in chosen)).check_model(layers)


@pytest.mark.parametrize("text", ["", "a", "3+", "3;4"])
def test_layers_that_cannot_be_read_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match="write them as"):
        parse_layers(text)


points = st.tuples(st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.1, 0.2, 0.3]))


@given(st.lists(points, min_size=1, max_size=12))
def test_a_front_beats_all_the_rest_and_nothing_in_it_is_beaten(found: list[tuple[float, float]]) -> None:
    rows = [{"accuracy": accuracy, "ttft_s": seconds} for accuracy, seconds in found]
    front = [row for row in rows if on_front(row, rows, "ttft_s")]
    assert front
    for row in rows:
        better = [f for f in front if f["accuracy"] >= row["accuracy"] and f["ttft_s"] <= row["ttft_s"]]
        assert better
        if row in front:
            assert all((f["accuracy"], f["ttft_s"]) == (row["accuracy"], row["ttft_s"]) for f in better)


def test_the_table_reads_back_the_same_from_both_files(tmp_path: Path) -> None:
    variants = Grid(((3,),), (0.5,), ("sliminfer",)).variants(SlimConfig(), 12)
    row: dict[str, Any] = {"suite": "needle", "context": 512, "accuracy": 0.5, "ttft_s": 0.25, "prompt_kv_bytes": 7}
    extra = {"speedup": {"ttft": 2.0}, "evidence_kept": []}
    rows = [row | extra | {"variant": "full"}, row | extra | {"variant": variants[0].label, "ttft_s": 0.5}]
    flat = table_rows(rows, variants)
    assert [entry["front_ttft"] for entry in flat] == [True, False]
    assert [entry["front_kv"] for entry in flat] == [True, True]
    assert flat[1]["prune"] == "3:0.5"
    parquet, csv = write_table(flat, tmp_path / "deep" / "sweep.json")
    frame = pd.read_parquet(parquet)
    assert frame.to_dict("records") == flat
    assert list(pd.read_csv(csv)["variant"]) == ["full", "sliminfer 3:0.5"]
