"""Stored diffusion: the files of the command are found, others passed over, and words and curves agree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sliminfer.diffusion.summary import DiffusionSummary
from viz.figures.chart import Band, Line
from viz.figures.diffusion_stored import (
    StoredDiffusion,
    stored_attention_chart,
    stored_diffusions,
    stored_removal_chart,
    stored_verdict,
)

DEPTH = 8


def summary(half_at: int) -> DiffusionSummary:
    own = np.where(np.arange(DEPTH + 1) < half_at, 1.0, 0.0)
    return DiffusionSummary(
        probes=9,
        left_out=1,
        tokens=4000,
        layers=DEPTH,
        removed_layers=np.arange(DEPTH + 1),
        own_loss=np.stack([own - 0.05, own, own + 0.05]),
        random_loss=np.zeros((3, DEPTH + 1)),
        attention=np.stack([np.full(DEPTH, times) for times in (0.5, 1.5, 4.0)]),
        free_from=(own < 0.5).astype(float),
    )


def file(half_at: int, model: str) -> dict[str, object]:
    return {
        "model": model, "device": "a card", "dtype": "bfloat16", "suites": ["needle"], "seed": 0,
        "diffusion": summary(half_at).to_dict(),
    }  # fmt: skip


def test_a_folder_is_read_and_what_is_none_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(file(3, "second")))
    (tmp_path / "a.json").write_text(json.dumps(file(8, "first")))
    (tmp_path / "c.json").write_text('{"results": []}')
    (tmp_path / "d.json").write_text("{")
    (tmp_path / "e.json").write_text(json.dumps(file(3, "third") | {"diffusion": {"layers": 3}}))
    found = stored_diffusions(tmp_path)
    assert [stored.model for stored in found] == ["first", "second"]
    assert found[0].title == "first, 4,000 tokens"
    assert "9 passages of needle, seed 0, on a card in bfloat16" in found[0].source


@pytest.mark.parametrize(
    ("half_at", "says"),
    [(8, "needs the passage itself up to its last layers"), (7, "for most of its depth"), (3, "From layer 3 of 8 on")],
)
def test_the_verdict_follows_the_curve(half_at: int, says: str) -> None:
    stored = StoredDiffusion("a model", "here", summary(half_at))
    assert says in stored_verdict(stored)
    assert says in stored_removal_chart(stored).note


def test_every_value_that_is_drawn_stands_in_the_table() -> None:
    stored = StoredDiffusion("a model", "here", summary(3))
    removal, attention = stored_removal_chart(stored), stored_attention_chart(stored)
    for chart, points in ((removal, DEPTH + 1), (attention, DEPTH)):
        assert len(chart.table.rows) == points
        for mark in chart.marks:
            if isinstance(mark, Line | Band):
                assert len(mark.x) == points
    assert removal.table.rows[0][1] == "100 %"
    assert attention.table.rows[0][1:] == ("1.50", "0.50 to 4.00")
