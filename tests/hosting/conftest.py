"""The project's own Spacefile, once as text and once read."""

from __future__ import annotations

import pytest

from sliminfer.hosting.spacefile import SPACEFILE, Spacefile, read_spacefile


@pytest.fixture(scope="session")
def text() -> str:
    return SPACEFILE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def spacefile() -> Spacefile:
    return read_spacefile()
