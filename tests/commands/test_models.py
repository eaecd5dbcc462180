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
