"""The scoring rules: the default is the shipped one, the others differ where they should."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from sliminfer.commands.ablate import write_table
from sliminfer.engine.slim import slim
from sliminfer.evaluate.ablate import Rule, ablation_table, rules, score_units
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors.budget import flop_speedup, match_flops
from tests.tiny import tiny_model, token_ids

BASE = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.25)), block_size=16, local=16, query_window=8)


@pytest.mark.parametrize("unit_size", [1, 4])
def test_the_default_rule_is_the_shipped_one(unit_size: int) -> None:
    model, ids = tiny_model(), token_ids(301)
    shipped = BASE.with_changes(unit_size=unit_size)
    with torch.inference_mode():
        with slim(model, shipped):
            expected = model(ids).logits[0, -1]
        with slim(model, shipped.with_changes(method="scoring-rule")):
            found = model(ids).logits[0, -1]
        with slim(model, shipped.with_changes(method="scoring-rule", options={"attention": False})):
            other = model(ids).logits[0, -1]
    assert torch.equal(found, expected)
    assert not torch.equal(other, expected)


def test_scores_by_hand() -> None:
    # One KV head of width 1 with two query heads and one query each; three units, the last not yet visible.
    queries = torch.tensor([[[1.0]], [[2.0]]])
    units = torch.tensor([[[0.0], [math.log(3.0)], [9.0]]])
    visible = torch.tensor([[True, True, False]])
    attention = torch.tensor([[1 / 4, 3 / 4, 0.0], [1 / 10, 9 / 10, 0.0]])
    torch.testing.assert_close(score_units(queries, units, visible, Rule()), attention.mean(0))
    torch.testing.assert_close(score_units(queries, units, visible, Rule(heads="max")), attention.amax(0))
    raw = score_units(queries, units, visible, Rule(attention=False))
    torch.testing.assert_close(raw[:2], torch.tensor([0.0, 1.5 * math.log(3.0)]))
    assert raw[2] <= raw[0]


def test_every_rule_runs_at_the_flops_of_the_default() -> None:
    shape = ModelShape(12, 384, 1024, 6, 3, 64, 4096, 16384, True)
    base = SlimConfig.preset("paper", 12)
    target = flop_speedup(base, shape, 4096)
    solved = {label: match_flops(config, shape, 4096, target) for label, config in rules(base).items()}
    assert len(solved) > 15
    assert flop_speedup(solved["default"], shape, 4096) == pytest.approx(target, rel=1e-3)
    reached = [flop_speedup(config, shape, 4096) for config in solved.values()]
    assert max(reached) / min(reached) < 1.05


def test_the_table_replaces_only_what_was_measured(tmp_path: Path) -> None:
    row = {"suite": "needle", "accuracy": 1.0, "evidence_kept": [0.5], "agreement": 1.0, "first_token_kl": 0.0}
    rows = [row | {"variant": name, "speedup": {"ttft_flops": 2.0}} for name in ("full", "default")]
    path = tmp_path / "ablation.md"
    path.write_text("# Title\n\nWhy.\n")
    write_table(path, "old table")
    path.write_text(path.read_text() + "\nThe decision.\n")
    write_table(path, ablation_table(rows))
    text = path.read_text()
    assert "old table" not in text
    assert "| default | 0.500 | 1.000 | 1.000 | 0.0000 | 2.00 |" in text
    assert text.startswith("# Title\n\nWhy.\n")
    assert text.endswith("\nThe decision.\n")
