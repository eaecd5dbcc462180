"""A figure's numbers leave the page by one click, as a spreadsheet takes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_light import run_to_the_end

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


def test_the_numbers_of_a_figure_are_copied(open_page: Open) -> None:
    tab = open_page(permissions=["clipboard-read", "clipboard-write"])
    run_to_the_end(tab)
    button = tab.locator("#glance-map .fig-copy")
    button.scroll_into_view_if_needed()
    button.click()
    expect(button).to_have_text("Copied")
    copied = tab.evaluate("navigator.clipboard.readText()").splitlines()
    table = tab.locator("#glance-map .fig-table table")
    assert len(copied) == table.locator("tr").count() > 2
    assert copied[0].split("\t") == [name.strip() for name in table.locator("thead th").all_text_contents()]
    expect(button).to_have_text("Copy numbers")


def test_a_browser_that_forbids_it_is_told(open_page: Open) -> None:
    tab = open_page()
    run_to_the_end(tab)
    tab.evaluate("() => { navigator.clipboard.write = () => Promise.reject(new Error('no')); }")
    button = tab.locator("#glance-map .fig-copy")
    button.click()
    expect(button).to_contain_text("The browser forbids it")
