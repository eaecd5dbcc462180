"""Models by name on the command line: GGUF files run, packed or not, and what is wrong with one is a line on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sliminfer import cli
from sliminfer.errors import ModelError
from tests.gguf_files import write_gguf
from tests.tiny import tiny_model


def arguments(tmp_path: Path, model: str) -> list[str]:
    (tmp_path / "text.txt").write_text("The lamp of the north tower was lit at nine. " * 20)
    return [
        "run", "--document", str(tmp_path / "text.txt"), "--question", "When was it lit?", "--model", model,
        "--max-new-tokens", "2", "--device", "cpu", "--dtype", "float32", "--json", "-",
    ]  # fmt: skip


@pytest.mark.parametrize("packed", [[], ["--packed"]])
def test_a_gguf_file_runs(packed: list[str], tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_model())
    done = CliRunner().invoke(cli.app, [*arguments(tmp_path, str(tmp_path)), *packed], catch_exceptions=False)
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert (result["model"], result["dtype"]) == (str(tmp_path), "float32")
    assert result["full"]["kv_bytes"] > result["pruned"]["kv_bytes"]


@pytest.mark.parametrize(
    ("model", "packed", "message"),
    [("none.gguf", [], "There is no file none.gguf"), ("demo", ["--packed"], "demo has no packed weights")],
)
def test_what_is_no_gguf_file_is_said(model: str, packed: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        CliRunner().invoke(cli.app, [*arguments(tmp_path, model), *packed], catch_exceptions=False)


def test_one_model_is_checked(tmp_path: Path) -> None:
    tiny_model("gemma3_text").save_pretrained(tmp_path)
    command = ["models", "--check", str(tmp_path), "--context", "1000", "--device", "cpu", "--json", "-"]
    done = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["family"], found["model_type"], found["runs"]) == ("Gemma 3", "gemma3_text", "own forward")
    assert found["difference"] < 1e-5
    assert found["backends"] == ["flash_attention_2", "sdpa", "eager"]
    assert [step["scored_by"] for step in found["steps"]] == [[2], [2]]  # layers 2 and 5 see everything
    assert found["full_flops"] > found["pruned_flops"] > 0
    assert found["kv_bytes"] > found["pruned_kv_bytes"] > 0


@pytest.mark.parametrize(
    ("family", "said"), [("llama", "fused steps"), ("lfm2", "an approximation"), ("olmo", "found by a self-test")]
)
def test_a_check_says_how_a_model_runs_in_words(family: str, said: str, tmp_path: Path) -> None:
    tiny_model(family).save_pretrained(tmp_path)
    command = ["models", "--check", str(tmp_path), "--device", "cpu"]
    done = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert said in done.stdout


def test_a_checked_model_that_cannot_be_pruned_is_a_sentence() -> None:
    with pytest.raises(ModelError, match="No model found at"):
        CliRunner().invoke(cli.app, ["models", "--check", "nowhere/at-all"], catch_exceptions=False)
