"""Hands on the pruning: a block is clicked, words are selected, the answer is run again and compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screenshots import open_tab
from tests.browser.test_first_light import run_to_the_end

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


def test_what_is_settled_by_hand_holds_in_the_next_run(open_page: Open) -> None:
    tab = open_page()
    run_to_the_end(tab)
    open_tab(tab, "Kept tokens")
    tab.get_by_role("radio", name="Click: keep or drop").check(force=True)
    tab.locator("#document-text .doc-text span").nth(1).click(position={"x": 40, "y": 8})
    expect(tab.locator("#hands li")).to_have_count(1)
    tab.locator("#document-text .doc-text span.ev").first.dblclick(position={"x": 12, "y": 8})
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
