"""The commands in this process, on a tiny model from disk: files, contracts, mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sliminfer.cli import app
from sliminfer.commands.bench import _merged
from sliminfer.diffusion.summary import DiffusionSummary
from sliminfer.errors import SlimError
from sliminfer.evaluate import evaluate
from sliminfer.evaluate.records import Record
from sliminfer.schedule.config import PruneStep, SlimConfig

ROW = {
    "suite", "context", "method", "variant", "flops_target", "examples", "failed", "accuracy", "accuracy_low",
    "accuracy_high", "agreement", "first_token_kl", "evidence_kept", "prompt_tokens", "ttft_s",
    "decode_tokens_per_s", "prompt_kv_bytes", "peak_bytes", "speedup",
}  # fmt: skip


def invoke(*arguments: object) -> str:
    """What the command prints on stdout; raises what it raised."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=False)
    return result.stdout


@pytest.fixture
def common(model_folder: Path, filler: Path, tmp_path: Path) -> list[object]:
    return [
        "--model", model_folder, "--device", "cpu", "--dtype", "float32", "--filler", filler,
        "--context", 768, "--json", tmp_path / "result.json",
    ]  # fmt: skip


def result(tmp_path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((tmp_path / "result.json").read_text())
    return data


def test_eval_writes_rows_with_their_origin(common: list[object], tmp_path: Path) -> None:
    asked = ["--suite", "needle", "--methods", "full,sliminfer", "--examples", 1, "--prune", "3:0.5"]
    shown = invoke("eval", *common, *asked)
    data = result(tmp_path)
    assert [row["variant"] for row in data["results"]] == ["full", "sliminfer"]
    assert all(set(row) == ROW for row in data["results"])
    assert data["provenance"]["device"] == "cpu"
    assert data["variants"][0]["config"]["steps"] == [{"layer": 3, "keep": 0.5}]
    assert "sliminfer" in shown


def test_eval_matches_flops_for_every_method(common: list[object], tmp_path: Path) -> None:
    invoke(
        "eval", *common, "--suite", "needle", "--methods", "sliminfer,streaming", "--examples", 1,
        "--match-flops", "1.5",
    )  # fmt: skip
    pruned = [row for row in result(tmp_path)["results"] if row["variant"] != "full"]
    assert [row["variant"] for row in pruned] == ["sliminfer@1.5x", "streaming@1.5x"]
    for row in pruned:
        assert row["speedup"]["ttft_flops"] == pytest.approx(1.5, rel=0.03)


def test_diffusion_sums_up_a_model(common: list[object], tmp_path: Path) -> None:
    said = invoke("diffusion", *common, "--suite", "needle", "--examples", 2, "--draws", 1)
    data = result(tmp_path)
    summary = DiffusionSummary.from_dict(data["diffusion"])
    assert summary.probes + summary.left_out == 2
    assert list(summary.removed_layers) == list(range(summary.layers + 1))
    assert (summary.own_loss[:, 0] == 1).all()  # each on its own scale
    assert abs(summary.own_loss[:, -1]).max() < 1e-3  # nothing is missing at the end
    assert "median of" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--suite", "riddles"], "Unknown suite 'riddles'"),
        (["--context", "many"], "--context has 'many'"),
        (["--context", "999999"], "reads at most"),
        (["--examples", "0"], "give at least 1"),
        (["--methods", "magic"], "Unknown method 'magic'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(common: list[object], options: list[str], message: str) -> None:
    with pytest.raises(SlimError, match=message):
        invoke("eval", *common, *options)


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    common: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["eval", *common, "--suite", "needle", "--examples", 1, "--prune", "3:0.5"]
    whole = evaluate.run_work

    def stopped(*arguments: Any) -> Iterator[Record]:
        yield next(whole(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "run_work", stopped)
        done = CliRunner().invoke(app, [str(a) for a in asked], standalone_mode=False)
    assert done.return_value == 130
    assert "Stopped with 1 finished runs" in done.stderr
    assert "the same command goes on from there" in done.stderr
    assert not (tmp_path / "result.json").exists()
    invoke(*asked)
    assert [row["examples"] for row in result(tmp_path)["results"]] == [1, 1]


def test_bench_rows_of_all_processes_come_in_the_order_asked_for() -> None:
    rows = [[{"shape": "a", "tokens": 2}], [{"shape": "b", "tokens": 1}, {"shape": "a", "tokens": 1}]]
    documents = [{"device": "cpu", "rows": rows[0]}, {}, {"device": "cpu", "rows": rows[1]}]
    merged = _merged(documents, [("a", 1), ("a", 2), ("b", 1), ("b", 2)])
    assert [(row["shape"], row["tokens"]) for row in merged["rows"]] == [("a", 1), ("a", 2), ("b", 1)]
    assert merged["device"] == "cpu"


def test_sweep_writes_all_three_tables_and_its_page(common: list[object], tmp_path: Path) -> None:
    invoke("sweep", *common, "--suite", "needle", "--examples", 1, "--layers", "2,2+4", "--keep", "0.5")
    table = result(tmp_path)["table"]
    assert [row["variant"] for row in table] == ["full", "sliminfer 2:0.5", "sliminfer 2:0.5,4:0.25"]
    assert any(row["front_ttft"] for row in table)
    assert (tmp_path / "result.parquet").is_file()
    assert (tmp_path / "result.csv").read_text().count("\n") == 4
    page = tmp_path / "report.html"
    invoke("report", tmp_path / "result.json", "--out", page)
    assert "sliminfer 2:0.5,4:0.25" in page.read_text()


def test_tune_writes_a_preset_that_a_config_is_read_from(common: list[object], tmp_path: Path) -> None:
    preset = tmp_path / "tuned.json"
    invoke(
        "tune", *common, "--suite", "needle", "--examples", 2, "--layers", "5", "--keep", "0.98",
        "--agreement", "0.01", "--preset", preset,
    )  # fmt: skip
    config = SlimConfig.from_file(preset)
    assert config.steps == (PruneStep(5, 0.98),)
    tuned = json.loads(preset.read_text())["tuned"]
    assert tuned["claim"]["fresh_examples"] == 1
    assert tuned["claim"]["lower_bound"] < 0.1
    assert not tuned["claim"]["supported"] or tuned["claim"]["level"] <= tuned["claim"]["lower_bound"]
    assert result(tmp_path)["tuned"]["variant"] == "sliminfer 5:0.98"


def test_ablate_fills_in_its_document(common: list[object], tmp_path: Path) -> None:
    document = tmp_path / "ablation.md"
    invoke("ablate", *common, "--suite", "needle", "--examples", 1, "--prune", "3:0.5", "--markdown", document)
    text = document.read_text()
    assert text.count("\n| ") > 15
    assert "| full model |" in text
