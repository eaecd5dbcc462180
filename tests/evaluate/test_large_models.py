"""The table of larger models: every method is timed without fault, and a row says what the arithmetic says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import large_models
from benchmarks.large_models import BEGIN, END, METHODS, SIZES, Row, put, table
from sliminfer.selectors import published


@pytest.mark.parametrize("method", METHODS)
def test_choosing_is_timed_for_every_method(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_models, "_bandwidth", lambda device: 1e12)  # half a gigabyte is read to know it
    size, tokens = SIZES[0], 512
    with torch.inference_mode():
        config = published(method, size.shape.layers)
        taken = large_models._selection_s(config, size, tokens, (tokens - 64, tokens), torch.device("cpu"))
    assert taken > 0


def test_the_table_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    drafted = Row("8B", "1B", 4096, "specprefill", 2.5, 0.15, 0.2, 0.01, 2.0)
    rows = [drafted, Row("8B", "", 4096, "x", 1.0, 0, None, None, None)]
    put(table(rows, "a GPU"), page)
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| 8B | 4,096 | `specprefill` | 2.50x | 15.0% (1B) | 20.0% | 10.0 | 2.00x |" in text
    assert "out of reach" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
