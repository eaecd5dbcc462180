"""One served page for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.page.serving import Served, served


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("door")) as up:
        yield up
