"""Results kept as files: what `eval` and `bench` wrote is shown as it stands, and nothing else is taken for it."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path
from statistics import fmean

import pytest

from sliminfer.evaluate.bench import BenchRow
from sliminfer.selectors import available
from viz.figures.export import png_bytes
from viz.figures.methods import KV, TTFT, Outcome, accuracy_chart
from viz.figures.plotly_chart import plotly_figure
from viz.figures.stored import FOLDER, Study, nearest, studies, timings

# What the stored comparison on the demo model was measured with.
MEASURED = ("full", "sliminfer", "adaptive", "fastkv", "lazyllm", "gemfilter", "streaming", "random", "oracle")
BENCH = Path(__file__).with_name("bench_demo_256.json")  # sliminfer bench --shape demo --lengths 256 --rounds 1


def test_a_bench_file_becomes_a_figure_with_its_machine() -> None:
    (chart,) = timings(BENCH.parent)
    data = json.loads(BENCH.read_text(encoding="utf-8"))
    assert chart.title == f"demo on {data['provenance']['cpu']}, {data['threads']} threads"
    (group,) = chart.groups
    assert group.name == "256 tokens"
    assert [bar.name for bar in group.bars] == ["full", "paper"]
    assert [bar.length for bar in group.bars] == [row["ttft_s"]["most"] for row in data["rows"]]
    assert chart.table.rows[1][5] == f"{data['rows'][1]['speedup']['median']:.2f}×"
    assert data["provenance"]["command"] in chart.table.caption
    assert png_bytes(chart)


def test_a_gpu_is_named_and_shapes_have_figures_of_their_own(tmp_path: Path) -> None:
    data = json.loads(BENCH.read_text(encoding="utf-8"))
    data["device"] = "NVIDIA H100 80GB HBM3"
    data["rows"] += [row | {"shape": "llama-3.1-8b", "tokens": 32768} for row in data["rows"]]
    (tmp_path / "h100.json").write_text(json.dumps(data), encoding="utf-8")
    titles = [chart.title for chart in timings(tmp_path)]
    assert titles == ["demo on NVIDIA H100 80GB HBM3", "llama-3.1-8b on NVIDIA H100 80GB HBM3"]


def test_bench_still_writes_what_is_read_here() -> None:
    (row, *_) = json.loads(BENCH.read_text(encoding="utf-8"))["rows"]
    assert row.keys() <= {field.name for field in fields(BenchRow)}


def test_an_evaluation_gives_an_outcome_a_variant() -> None:
    kept = json.loads((FOLDER / "eval_demo_1k.json").read_text(encoding="utf-8"))
    study = next(study for study in studies(FOLDER) if study.context == 1024 and study.model == "demo")
    assert [outcome.name for outcome in study.outcomes] == ["full", "sliminfer", "streaming", "random"]
    for outcome in study.outcomes:
        own = [row for row in kept["results"] if row["variant"] == outcome.name]
        assert outcome.accuracy == pytest.approx(fmean(row["accuracy"] for row in own))
        assert min(row["ttft_s"] for row in own) <= outcome.ttft_s <= max(row["ttft_s"] for row in own)
    assert study.outcomes[1].setting == "4:25 %, 8:12.5 %"
    assert "50 examples each of needle, multikey, quote, tracking" in study.source


@pytest.mark.parametrize("tokens", [1024, 4096])
def test_methods_at_equal_flops_are_joined_budget_by_budget(tokens: int) -> None:
    demo = [study for study in studies(FOLDER) if study.model == "demo"]
    (study,) = (study for study in demo if study.join == "methods" and study.context == tokens)
    assert study.title == f"methods at equal FLOPs, demo, {tokens:,} tokens"
    methods = list(dict.fromkeys(outcome.name for outcome in study.outcomes))
    assert sorted(methods) == sorted(MEASURED)
    assert set(MEASURED) < set(available())  # the others came later, and are measured on real models
    own = {name: [outcome for outcome in study.outcomes if outcome.name == name] for name in methods}
    assert len(own.pop("full")) == 1
    for found in own.values():
        assert [outcome.setting.split(" by ")[0] for outcome in found] == ["1.5×", "2×", "2.5×", "3×"]
    for cost in (TTFT, KV):
        chart = accuracy_chart(study.outcomes, join=study.join, cost=cost)
        drawn = {trace.name: trace for trace in plotly_figure(chart).data}
        assert list(drawn) == methods
        for name, found in own.items():
            assert drawn[name].mode == "lines+markers"
            assert drawn[name].y.tolist() == [outcome.accuracy for outcome in found]
            assert drawn[name].hovertext == tuple(outcome.setting for outcome in found)
        assert png_bytes(chart)


def test_real_models_are_shown_and_times_of_a_shared_machine_say_so() -> None:
    real = [study for study in studies(FOLDER) if study.model == "Qwen2.5-Coder-1.5B-Instruct"]
    assert {study.context for study in real} == {4096, 8192, 16384, 32768}
    assert all("processes shared the machine" in study.source for study in real)
    for study in real:
        named = [(outcome.name, outcome.setting) for outcome in study.outcomes]
        assert len(set(named)) == len(named)
        best: dict[str, float] = {}
        for outcome in study.outcomes:
            best[outcome.name] = max(outcome.accuracy, best.get(outcome.name, 0.0))
        assert best["sliminfer"] >= best["full"] - 0.011


def test_the_study_nearest_in_length_is_of_the_pages_model_and_of_all_methods() -> None:
    plain = Study("demo", 2048, "", ())
    short, long = (Study("demo", tokens, "", (), "methods") for tokens in (1024, 4096))
    other = Study("other", 2000, "", (), "methods")
    found = (other, plain, short, long)
    for tokens, expected in ((1, short), (2000, short), (2100, long), (10**6, long), (None, long)):
        assert nearest(found, "demo", tokens) is expected
    assert nearest((other, plain), "demo", 1) is plain
    assert nearest((other,), "demo", None) is other


def test_every_method_looks_like_no_other() -> None:
    outcomes = [Outcome(name, "", 0.5, 1.0) for name in (*available(), "one", "two", "three")]
    looks = [(mark.role, mark.symbol) for mark in accuracy_chart(outcomes).marks]
    assert len(set(looks)) == len(outcomes)


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    shutil.copy(BENCH, tmp_path / "bench.json")
    shutil.copy(FOLDER / "eval_demo_1k.json", tmp_path / "eval.json")
    for name, text in (("half.json", '{"rows": ['), ("list.json", "[]"), ("other.json", '{"rows": [{"cache": "x"}]}')):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(timings(tmp_path)) == 1
    assert len(studies(tmp_path)) == 1


def test_new_lengths_are_told_apart_from_known_ones(tmp_path: Path) -> None:
    data = json.loads(BENCH.read_text(encoding="utf-8"))
    for name, new in (("known.json", False), ("new.json", True)):
        (tmp_path / name).write_text(json.dumps(data | {"new_lengths": new}), encoding="utf-8")
    told = ["another length in every round" in chart.note for chart in timings(tmp_path)]
    assert told == [False, True]


def test_your_run_is_a_point_where_its_answer_can_be_judged_and_a_line_where_not() -> None:
    outcomes = [Outcome("full", "", 0.9, 2.0), Outcome("sliminfer", "4:25 %", 0.8, 1.0)]
    judged = accuracy_chart(outcomes, Outcome("your run", "mine", 1.0, 0.5))
    assert (judged.marks[-1].x.tolist(), judged.marks[-1].y.tolist()) == ([0.5], [1.0])
    timed = accuracy_chart(outcomes, Outcome("your run", "mine", float("nan"), 0.5))
    assert (timed.marks[-1].x.tolist(), timed.marks[-1].y.tolist()) == ([0.5, 0.5], [0.8, 1.0])
    assert timed.table.rows[-1] == ("your run", "mine", "–", "500 ms", "–")


def test_a_sweep_is_drawn_with_its_front_against_time_and_against_memory(tmp_path: Path) -> None:
    settings = {"full": (0.9, 2.0, 8e6), "a": (0.9, 1.0, 4e6), "b": (0.8, 1.5, 2e6), "c": (0.7, 0.5, 3e6)}
    row = {"suite": "needle", "context": 512, "method": "sliminfer"}
    results = [
        row | {"variant": name, "accuracy": accuracy, "ttft_s": seconds, "prompt_kv_bytes": size}
        for name, (accuracy, seconds, size) in settings.items()
    ]
    data = {"model": "demo", "results": results, "table": [], "examples": 2}
    (tmp_path / "sweep.json").write_text(json.dumps(data), encoding="utf-8")
    (study,) = studies(tmp_path)
    assert study.join == "front"
    assert study.title.startswith("sweep of demo")
    fronts = {}
    for cost in (TTFT, KV):
        chart = accuracy_chart(study.outcomes, join=study.join, cost=cost)
        line = chart.marks[0]
        fronts[cost.field] = list(zip(line.x.tolist(), line.y.tolist()))
        assert [row[-1] for row in chart.table.rows].count("yes") == 2
        assert png_bytes(chart)
    assert fronts == {"ttft_s": [(0.5, 0.7), (1.0, 0.9)], "kv_bytes": [(2.0, 0.8), (4.0, 0.9)]}
