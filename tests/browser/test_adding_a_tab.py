"""The tab that docs/adding.md prints, as a visitor uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.serving import long_text, served
from tests.page.words_tab import words_tab
from viz.page.tabs import TABS

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A visitor on a page with the tab."""
    with served(tmp_path, (*TABS, words_tab(tmp_path, monkeypatch))) as up:
        context = chromium.new_context(viewport={"width": 1360, "height": 900})
        shown = context.new_page()
        shown.goto(up.url)
        expect(shown.locator("#run")).to_be_enabled(timeout=60_000)
        yield shown
        context.close()


def test_the_new_tab_follows_the_run_and_the_document(tab: Page) -> None:
    tab.get_by_role("tab", name="Words").click()
    expect(tab.locator("#words-answers")).to_contain_text("counted while they are written")
    tab.locator("#run").click()
    expect(tab.locator("#status .status.done")).to_be_visible(timeout=60_000)
    expect(tab.locator("#words-answers")).to_have_text(re.compile(r"full: \d+ words?, pruned: \d+ words?"))
    tab.get_by_role("button", name="Count the document's words").click()
    expect(tab.locator("#words-document")).to_have_text(f"{len(long_text(20).split())} words")
    tab.locator("#example").click()
    tab.get_by_role("option", name="The archive log").click()
    expect(tab.locator("#words-document")).to_have_text("")
