"""The stored accuracy of real models: the page is what the files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.accuracy import stored, tables
from benchmarks.comparison import put

PAGE = Path(__file__).resolve().parents[2] / "docs" / "real-models.md"


def test_the_page_is_what_its_files_say(tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    put(tables(stored()), copy)
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8"), (
        "run benchmarks/accuracy.py on the page"
    )


def test_each_cell_is_its_own_row_and_what_was_not_measured_is_a_dash() -> None:
    def row(suite: str, variant: str, accuracy: float | None) -> dict[str, Any]:
        ends = {"accuracy_low": accuracy and accuracy - 0.2, "accuracy_high": accuracy and accuracy + 0.2}
        speedup = {"ttft_flops": 1.0 if variant == "full" else 3.0}
        return {"suite": suite, "context": 1024, "variant": variant, "accuracy": accuracy, "speedup": speedup} | ends

    found = tables(
        [
            stored()[0]
            | {
                "model": "folder/a-model-1.5B",
                "contexts": [1024],
                "results": [
                    row("needle", "full", 0.5),
                    row("needle", "random", 0.25),
                    row("quote", "full", 1.0),
                    row("quote", "random", None),
                ],
            }
        ]
    )
    assert found.startswith("**a-model-1.5B** ")
    assert "up to ±20; times fewer FLOPs of a prefill: `random` 3.00." in found
    assert [line for line in found.splitlines() if line.startswith("| ")] == [
        "| questions | tokens | full | `random` |",
        "| needle | 1,024 | 50.0 | 25.0 |",
        "| quote | 1,024 | 100.0 | - |",
        "| mean | 1,024 | 75.0 | - |",
    ]
