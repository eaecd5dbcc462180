"""Code that the documents print, to be run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def printed(page: str, heading: str) -> str:
    """The first Python listing under `heading` of a page in docs/."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    listing: str = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    return listing
