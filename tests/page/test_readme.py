"""The README's example of a client does what it says, word for word but for the address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.page.serving import Served, long_text

README = Path(__file__).resolve().parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:7860"


def test_the_example_of_a_client_runs(
    page: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (snippet,) = [text for text in snippets if "gradio_client" in text]
    assert ADDRESS in snippet
    (tmp_path / "log.txt").write_text(long_text(60), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(snippet.replace(ADDRESS, page.url), names)
    assert [kept["layer"] for kept in names["result"]["pruned"]["kept"]] == [4, 8]  # type: ignore[index]
    assert "ttft_flops" in capsys.readouterr().out
