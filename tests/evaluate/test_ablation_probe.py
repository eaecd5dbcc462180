"""The probe tells what a run of its own under each rule would keep."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sliminfer.engine.engine import SlimEngine
from sliminfer.errors import ConfigError, MemoryLimitError
from sliminfer.evaluate import ablate_probe
from sliminfer.evaluate.ablate import rules
from sliminfer.evaluate.ablate_probe import Probed, probe, probe_table
from sliminfer.evaluate.catalogue import Sources, find_suites
from sliminfer.evaluate.evaluate import Variant, evaluate, work_list
from sliminfer.evaluate.records import RecordStore
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import available, selector_class

BASE = SlimConfig(steps=(PruneStep(2, 0.5),), block_size=16, local=16, query_window=8)


def test_the_probe_agrees_with_real_runs(engine: SlimEngine, filler: Path, tmp_path: Path) -> None:
    suites = find_suites("needle", Sources(engine.loaded.tokenizer, 0, filler, longest=768))
    wanted = ("default", "mean over heads", "mean-key units of 4", "the prune layer itself alone",
              "last 32 queries")  # fmt: skip
    chosen = {label: config for label, config in rules(BASE).items() if label in wanted}
    assert len(chosen) == len(wanted)
    work = work_list(suites, {768: [Variant(label, config) for label, config in chosen.items()]}, 1)
    records = evaluate(engine, work, RecordStore(tmp_path / "r.json", {}))
    real = {record.variant: record.evidence_kept[0] for record in records if record.evidence_kept}
    probed = {each.rule: each.kept for each in probe(engine, [suites[0].item(768, 0)], chosen)}
    assert probed == pytest.approx(real)


def test_the_table_has_means_and_whole_shares() -> None:
    shares = [Probed("a", "default", 1.0), Probed("a", "default", 0.5), Probed("b", "default", 0.0)]
    assert probe_table(shares).splitlines()[-1] == "| default | 3 | 0.500 | 0.333 | 0.750 | 0.000 |"


def test_probing_adds_no_method() -> None:
    with pytest.raises(ConfigError, match="Unknown method 'probe'"):
        selector_class("probe")
    assert "scoring-rule" not in available()


def test_an_example_that_does_not_fit_the_memory_is_told(
    engine: SlimEngine, filler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    item = find_suites("needle", Sources(engine.loaded.tokenizer, 0, filler, longest=768))[0].item(768, 0)
    with monkeypatch.context() as patch:
        patch.setattr(ablate_probe, "kept_shares", full)
        with pytest.raises(MemoryLimitError, match="does not fit in memory"):
            list(probe(engine, [item], {"default": BASE}))
    assert list(probe(engine, [item], {"default": BASE}))  # the turn was given back
