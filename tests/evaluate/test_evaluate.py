"""The loop over examples on a tiny model: exact figures, resuming, failures, summaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.errors import ConfigError, SlimError
from sliminfer.evaluate.catalogue import Sources, find_suites
from sliminfer.evaluate.evaluate import Variant, Work, evaluate, work_list
from sliminfer.evaluate.records import Record, RecordStore
from sliminfer.evaluate.summary import averages, summarise
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.tasks.items import EvalSuite

EVERYTHING = Variant("keeps all", SlimConfig(steps=(PruneStep(2, 1.0),)))
HALF = Variant("half", SlimConfig(steps=(PruneStep(2, 0.5),), block_size=16, local=16))
ORACLE = Variant("oracle", SlimConfig(steps=(PruneStep(2, 0.5),), block_size=16, local=16, method="oracle"))


def suites(engine: SlimEngine, filler: Path, names: str = "needle,quote") -> list[EvalSuite]:
    return find_suites(names, Sources(engine.loaded.tokenizer, 0, filler, longest=1024))


def run(engine: SlimEngine, work: Sequence[Work], folder: Path) -> tuple[list[Record], int]:
    """The records, and how many runs were made."""
    made: list[Record] = []
    store = RecordStore(folder / "r.json", {"model": "tiny"})
    return evaluate(engine, work, store, advance=made.append), len(made)


def test_a_variant_that_keeps_all_is_the_full_model(engine: SlimEngine, filler: Path, tmp_path: Path) -> None:
    work = work_list(suites(engine, filler), {768: [EVERYTHING]}, examples=1)
    records, _ = run(engine, work, tmp_path)
    pruned = [record for record in records if record.variant == "keeps all"]
    assert len(pruned) == 2
    for record in pruned:
        assert (record.agreement, record.first_token_kl, record.flop_speedup) == (1.0, 0.0, 1.0)


def test_the_oracle_keeps_all_evidence_and_halving_saves_flops(
    engine: SlimEngine, filler: Path, tmp_path: Path
) -> None:
    work = work_list(suites(engine, filler, "needle"), {768: [HALF, ORACLE]}, examples=2)
    records, _ = run(engine, work, tmp_path)
    rows = {row["variant"]: row for row in summarise(records, {768: [HALF, ORACLE]})}
    assert rows["oracle"]["evidence_kept"] == [1.0]
    assert all(record.hardware and "threads" in record.hardware for record in records)
    assert rows["half"]["speedup"]["ttft_flops"] > 1.3
    assert rows["full"]["examples"] == rows["half"]["examples"] == 2
    assert rows["half"]["accuracy_low"] <= rows["half"]["accuracy"] <= rows["half"]["accuracy_high"]


def test_stopping_and_going_on_gives_the_same_records(engine: SlimEngine, filler: Path, tmp_path: Path) -> None:
    work = work_list(suites(engine, filler), {768: [HALF]}, examples=2)
    whole, runs = run(engine, work, tmp_path / "whole")
    assert runs == len(whole) == 8

    def interrupt(record: Record) -> None:
        if record.index == 1:
            raise KeyboardInterrupt

    store = RecordStore(tmp_path / "parts" / "r.json", {"model": "tiny"})
    with pytest.raises(KeyboardInterrupt):
        evaluate(engine, work, store, advance=interrupt)
    assert len(store.records) == 5
    resumed, runs = run(engine, work, tmp_path / "parts")
    assert runs == 3
    assert [(r.key, r.text, r.score) for r in resumed] == [(r.key, r.text, r.score) for r in whole]


def test_more_examples_and_more_variants_reuse_what_is_there(engine: SlimEngine, filler: Path, tmp_path: Path) -> None:
    needle = suites(engine, filler, "needle")
    run(engine, work_list(needle, {768: [HALF]}, 1), tmp_path)
    records, runs = run(engine, work_list(needle, {768: [HALF, ORACLE]}, 2), tmp_path)
    assert runs == 4  # the oracle on the first example, and three runs of the second
    assert len(records) == 6


def test_an_example_that_does_not_fit_the_model_is_told(engine: SlimEngine, filler: Path, tmp_path: Path) -> None:
    work = work_list(suites(engine, filler, "needle"), {8192: [HALF]}, 1)
    with pytest.raises(SlimError, match="reads at most 4,096"):
        run(engine, work, tmp_path)


def test_items_are_reproducible_and_differ_by_seed(engine: SlimEngine, filler: Path) -> None:
    first, again = (suites(engine, filler, "multikey")[0].item(900, 3) for _ in range(2))
    assert first == again
    other = find_suites("multikey", Sources(engine.loaded.tokenizer, 1, filler))[0].item(900, 3)
    assert other.document != first.document
    prompt = first.prompt(engine.loaded.tokenizer)
    assert len(prompt) <= 900
    start, end = prompt.token_range(*first.evidence[0])
    shown = engine.loaded.tokenizer.decode(prompt.ids[start:end])
    assert first.document[slice(*first.evidence[0])] in shown


def test_unknown_suites_are_told(engine: SlimEngine) -> None:
    with pytest.raises(ConfigError, match="Unknown suite 'nonsense'"):
        find_suites("needle,nonsense", Sources(engine.loaded.tokenizer))


def test_averages_are_over_suites() -> None:
    rows = [{"variant": "full", "context": 512, "accuracy": value} for value in (0.5, 1.0)]
    assert averages(rows) == [{"variant": "full", "context": 512, "suites": 2, "accuracy": 0.75}]
