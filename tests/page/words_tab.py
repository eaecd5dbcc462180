"""The tab that docs/adding.md prints, as a module of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.printed import printed
from viz.page.tab import Tab


def words_tab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[Tab]:
    """The tab's class, from a file in `folder`."""
    file = folder / "words.py"
    file.write_text(printed("adding.md", "A tab"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("words_tab_of_the_docs", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    found: type[Tab] = module.WordsTab
    return found
