"""Where a measuring command keeps its result: found again by what was asked, whatever else was said."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from sliminfer.commands.measuring import Asked

ASKED = Asked(
    suite="needle", context="4096", examples=50, seed=0, model="demo", filler=None, data=Path("data"), download=False,
    device="auto", dtype="auto", attention="auto", packed=False,
)  # fmt: skip
OTHER: dict[str, Any] = {
    "suite": "quote", "context": "8192", "examples": 51, "seed": 1, "model": "smollm2", "filler": Path("book.txt"),
    "data": Path("elsewhere"), "download": True, "device": "cpu", "dtype": "float32", "attention": "eager",
    "packed": True, "draft": "smollm2",
}  # fmt: skip


def test_the_same_question_is_found_again() -> None:
    place = ASKED.result_path(None, "eval", methods="sliminfer")
    assert place.parent == Path("runs")
    assert place == replace(ASKED).result_path("-", "eval", methods="sliminfer")


@pytest.mark.parametrize("name", [field.name for field in fields(Asked)])
def test_another_question_has_a_place_of_its_own(name: str) -> None:
    other = replace(ASKED, **{name: OTHER[name]})
    assert other.result_path(None, "eval", methods="x") != ASKED.result_path(None, "eval", methods="x")


def test_what_is_compared_and_by_which_command_has_a_say() -> None:
    places = {
        ASKED.result_path(None, "eval", methods="sliminfer"),
        ASKED.result_path(None, "eval", methods="fastkv"),
        ASKED.result_path(None, "sweep", methods="sliminfer"),
    }
    assert len(places) == 3


def test_a_place_that_is_named_is_taken() -> None:
    assert ASKED.result_path("here/it.json", "eval") == Path("here/it.json")
