"""The README's example of the Python API does what it says, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (snippet,) = [text for text in snippets if "SlimEngine" in text]
    text = "The keeper of the tower wrote the weather down. " * 60 + "Anna lit the lamp. "
    (tmp_path / "log.txt").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(snippet, names)
    result = names["result"]
    assert set(result.finished) == {"full", "pruned"}  # type: ignore[attr-defined]
    assert result.comparison.ttft_flops > 1  # type: ignore[attr-defined]
    assert "Comparison(" in capsys.readouterr().out
