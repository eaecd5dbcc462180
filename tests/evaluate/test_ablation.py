"""The rules of the ablation run at one FLOP budget, and its table takes the place of its own alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sliminfer.commands.ablate import write_table
from sliminfer.evaluate.ablate import ablation_table, rules
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors.budget import at_flop_budget, flop_speedup


def test_every_rule_runs_at_the_flops_of_the_default() -> None:
    shape = ModelShape(12, 384, 1024, 6, 3, 64, 4096, 16384, True)
    base = SlimConfig.preset("paper", 12)
    target = flop_speedup(base, shape, 4096)
    solved = {label: at_flop_budget(config, shape, 4096, target) for label, config in rules(base).items()}
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
