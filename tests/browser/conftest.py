"""A real Chromium on a served page; every tab fails its test on a console error or a request elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.serving import Served, served

expect.set_options(timeout=40_000)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("browser")) as up:
        yield up


@pytest.fixture
def open_page(chromium: Browser, site: Served) -> Iterator[Callable[..., Page]]:
    """Opens the page for a new visitor, at a query and with any options of a browser context."""
    faults: list[str] = []
    contexts = []

    def visit(query: str = "", **options: Any) -> Page:
        context = chromium.new_context(**({"viewport": {"width": 1360, "height": 900}} | options))
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: faults.append(request.url) if not is_local(request.url) else None)
        tab.goto(site.url + query)
        expect(tab.locator("#run")).to_be_enabled(timeout=60_000)  # a busy machine takes its time
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def is_local(url: str) -> bool:
    """Whether a request stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob") or parts.hostname in ("127.0.0.1", "localhost")
