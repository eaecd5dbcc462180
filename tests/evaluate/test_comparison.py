"""The comparison page: parts measured by themselves take the place of what they measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.comparison import BEGIN, END, merged, put, tables

STORED = Path(__file__).resolve().parents[2] / "docs" / "comparison.json"


def stored() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return result


def test_a_part_replaces_its_own_rows_and_no_others() -> None:
    whole, changed = stored(), stored()["results"][5]
    part = stored() | {"results": [changed | {"accuracy": 0.125, "ttft_s": 1.0}], "variants": [], "commits": ["abc"]}
    result = merged([whole, part])
    assert len(result["results"]) == len(whole["results"])
    different = [i for i, (a, b) in enumerate(zip(result["results"], whole["results"], strict=True)) if a != b]
    assert different == [5]
    assert result["results"][5]["accuracy"] == 0.125
    assert result["results"][5]["ttft_s"] is None
    assert set(result["commits"]) == {*whole["commits"], "abc"}


def test_new_rows_are_added_and_one_result_stays_itself() -> None:
    whole = stored()
    assert merged([whole]) == whole
    half = whole | {"results": whole["results"][::2]}
    rest = whole | {"results": whole["results"][1::2]}
    key = json.dumps
    assert sorted(map(key, merged([half, rest])["results"])) == sorted(map(key, whole["results"]))


def test_the_page_is_what_its_json_says(tmp_path: Path) -> None:
    page = STORED.with_suffix(".md")
    copy = tmp_path / "page.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    put(tables(stored()), copy)
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    text = copy.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
