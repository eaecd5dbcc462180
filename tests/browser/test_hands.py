"""Hands on the pruning: a block is clicked, words are selected, the answer is run again and compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screenshots import open_tab
from tests.browser.test_first_light import run_to_the_end

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
LAST_LINE = "text => { const box = [...text.getClientRects()].at(-1); return [box.x, box.y, box.height]; }"


def test_what_is_settled_by_hand_holds_in_the_next_run(open_page: Open) -> None:
    tab = open_page()
    run_to_the_end(tab)
    open_tab(tab, "Kept tokens")
    tab.get_by_role("radio", name="Click: keep or drop").check(force=True)
    tab.mouse.click(*word(tab, "#document-text .doc-text span.s0"))
    expect(tab.locator("#hands li")).to_have_count(1)
    tab.mouse.dblclick(*word(tab, "#document-text .doc-text span.ev"))
    tab.wait_for_function("String(getSelection()).trim().length > 0")
    tab.click("#hands-keep")
    expect(tab.locator("#hands")).to_contain_text("Always kept:")
    expect(tab.locator(".belongs").first).to_contain_text("by hand")
    run_to_the_end(tab)
    expect(tab.locator(".belongs")).to_have_count(0)
    expect(tab.locator("#kept-map .kept-hand-keep").first).to_be_attached()
    tab.click("#trace")
    expect(tab.locator("#trace-words .verdict")).to_contain_text("Pruning")
    open_tab(tab, "Runs")
    expect(tab.locator("#runs-over")).to_contain_text("A and B over each other")


def word(tab: Page, selector: str) -> tuple[float, float]:
    """A point on the last line of the first such text, whose box may hold other text where it is broken."""
    found = tab.locator(selector).first
    found.scroll_into_view_if_needed()
    left, top, height = found.evaluate(LAST_LINE)
    return left + 12, top + height / 2
