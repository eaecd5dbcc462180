"""The method that docs/adding-a-method.md prints, as a package that somebody has installed."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-method.md"


def printed() -> str:
    """The method's file."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]


def install(folder: Path, source: str, target: str = "keynorm:KeyNorm") -> None:
    """Lay keynorm.py with `source` into `folder`, and what pip writes down of its package beside it."""
    (folder / "keynorm.py").write_text(source, encoding="utf-8")
    kept = folder / "keynorm-0.1.dist-info"
    kept.mkdir()
    (kept / "METADATA").write_text("Metadata-Version: 2.1\nName: keynorm\nVersion: 0.1\n", encoding="utf-8")
    (kept / "entry_points.txt").write_text(f"[sliminfer.methods]\nkeynorm = {target}\n", encoding="utf-8")
