"""Finished examples survive kills, other processes and doubling."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sliminfer.evaluate.records import Record, RecordStore, ResultError

SETTINGS = {"model": "tiny", "seed": 0}


def record(index: int, score: float = 1.0) -> Record:
    return Record("needle", 512, index, "full", "", text=f"answer {index}\u2028", score=score)


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r.json", SETTINGS)
    for index in range(3):
        store.add(record(index))
    store.close()
    again = RecordStore(tmp_path / "r.json", SETTINGS)
    assert list(again.records) == list(store.records)
    first = next(iter(again.records.values()))
    assert first.text == "answer 0\u2028"
    assert math.isnan(first.ttft_s)


def test_any_number_of_processes_reads_what_any_other_left_once_each(tmp_path: Path) -> None:
    for rank in range(3):
        store = RecordStore(tmp_path / "r.json", SETTINGS, rank)
        store.add(record(rank))
        store.add(record(rank + 1, score=0.0))  # already there from the rank before, for ranks above 0
        store.close()
    merged = RecordStore(tmp_path / "r.json", SETTINGS, rank=7)
    assert sorted(r.index for r in merged.records.values()) == [0, 1, 2, 3]


def test_a_line_cut_short_by_a_kill_is_measured_again(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r.json", SETTINGS)
    store.add(record(0))
    store.add(record(1))
    store.close()
    whole = store.path.read_bytes()
    for cut in range(1, len(whole) - whole[:-1].rfind(b"\n")):
        store.path.write_bytes(whole[:-cut])
        again = RecordStore(tmp_path / "r.json", SETTINGS)
        again.add(record(1))
        again.close()
        assert len(RecordStore(tmp_path / "r.json", SETTINGS).records) == 2


def test_a_damaged_line_in_the_middle_is_told(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r.json", SETTINGS)
    store.add(record(0))
    store.close()
    lines = store.path.read_text().splitlines()
    store.path.write_text("\n".join([lines[0], "{broken", lines[1]]) + "\n")
    with pytest.raises(ResultError, match="Line 2"):
        RecordStore(tmp_path / "r.json", SETTINGS)


def test_examples_of_other_settings_are_refused(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r.json", SETTINGS)
    store.add(record(0))
    store.close()
    with pytest.raises(ResultError, match="seed was 0, is now 1"):
        RecordStore(tmp_path / "r.json", SETTINGS | {"seed": 1})


def test_failures_are_kept_on_disk_but_not_counted_as_done(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "r.json", SETTINGS)
    store.add(Record("needle", 512, 0, "full", "", error="out of memory"))
    store.close()
    assert "out of memory" in store.path.read_text()
    assert not RecordStore(tmp_path / "r.json", SETTINGS).records


def test_lines_are_json_without_nan(tmp_path: Path) -> None:
    assert "NaN" not in record(0).to_line()
    json.loads(record(0).to_line(), parse_constant=lambda name: pytest.fail(name))
