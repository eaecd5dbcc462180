"""The method that docs/adding-a-method.md prints, as a package that somebody has installed."""

from __future__ import annotations

from pathlib import Path

from tests.printed import printed


def keynorm() -> str:
    """The method's file."""
    return printed("adding-a-method.md", "A complete method")


def install(folder: Path, source: str, target: str = "keynorm:KeyNorm") -> None:
    """Lay keynorm.py with `source` into `folder`, and what pip writes down of its package beside it."""
    (folder / "keynorm.py").write_text(source, encoding="utf-8")
    kept = folder / "keynorm-0.1.dist-info"
    kept.mkdir()
    (kept / "METADATA").write_text("Metadata-Version: 2.1\nName: keynorm\nVersion: 0.1\n", encoding="utf-8")
    (kept / "entry_points.txt").write_text(f"[sliminfer.methods]\nkeynorm = {target}\n", encoding="utf-8")
