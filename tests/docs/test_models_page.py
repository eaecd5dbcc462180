"""docs/models.md names every family that runs, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from sliminfer.model.families import FAMILIES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def test_the_table_of_families_is_the_list() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Families\n")[2].partition("\n\nA pruned run")[0]
    named = [name for row in section.splitlines() if row.startswith("|") for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(FAMILIES)
