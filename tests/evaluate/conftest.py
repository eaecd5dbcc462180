"""A tiny model in memory and on disk, and text to plant facts in."""

from __future__ import annotations

from pathlib import Path

import pytest

from sliminfer.engine.engine import SlimEngine
from tests.tasks.text import written_text
from tests.tiny import tiny_loaded, tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def engine() -> SlimEngine:
    return SlimEngine(tiny_loaded())


@pytest.fixture(scope="session")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filler") / "text.txt"
    path.write_text(written_text(2000), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
