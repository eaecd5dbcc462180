"""The Cache tab and its settings: a working set, its blocks on the move, and the simulated link they cross."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_accessibility import serious

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


def run_half(tab: Page) -> None:
    """Run with a working set, until the tab shows it."""
    tab.get_by_role("tab", name="Cache").click()
    tab.get_by_role("button", name="Run with half of the kept blocks").click()
    expect(tab.locator("#cache-bytes .main-svg").first).to_be_visible(timeout=60_000)


def hidden_percent(tab: Page) -> float:
    """The share of the transfer that ran beside the compute, as the tab gives it."""
    note = tab.locator("#residency figcaption")
    expect(note).to_contain_text("transfer ran beside the compute (on a simulated link)")
    return float(re.search(r"([\d.]+) % of", note.inner_text())[1])


def test_blocks_wait_on_the_host_until_they_are_wanted(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Cache").click()
    expect(tab.locator("#cache-link")).to_be_hidden()
    run_half(tab)
    expect(tab.locator("#residency")).to_contain_text("on the host")
    expect(tab.locator("#residency")).to_contain_text("loaded")


def test_a_slower_link_hides_less_of_the_transfer(open_page: Open) -> None:
    tab = open_page("?prune=4:90%25&gamma=1&active_preserve=1&max_new_tokens=16")
    run_half(tab)
    slider = tab.get_by_role("slider", name="Simulated link between device and host")
    expect(tab.locator("#cache-link")).to_contain_text("25 GB/s, PCIe 4.0 x16")
    expect(tab.locator("#cache-link")).to_contain_text("Simulated: on a CPU nothing has to travel")
    fast = hidden_percent(tab)
    note = tab.locator("#residency figcaption").inner_text()
    slider.press("Home")
    expect(tab.locator("#cache-link output")).to_have_text("10 MB/s")
    expect(slider).to_have_attribute("aria-valuetext", "10 MB/s")
    expect(tab.locator("#residency figcaption")).not_to_have_text(note)
    assert hidden_percent(tab) < fast
    assert serious(tab) == []


def test_decode_memory_is_off_by_default_and_travels_in_a_link(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("button", name="Decode memory").click()
    working_set = tab.get_by_role("spinbutton", name="number input for Working set")
    expect(working_set).to_have_value("1")
    working_set.click()  # which waits until the group has stopped moving, as a visitor does
    working_set.fill("0.4")
    working_set.press("Tab")
    tab.get_by_role("checkbox", name="Preserve layers too").check()
    tab.get_by_role("button", name="Link to this setup").click()
    address = tab.locator("#link textarea, #link input")
    expect(address).to_have_value(re.compile("active=0.4.*active_preserve=1"))
    other = open_page("?" + urlsplit(address.input_value()).query)
    other.get_by_role("button", name="Decode memory").click()
    expect(other.get_by_role("checkbox", name="Preserve layers too")).to_be_checked()
    expect(other.get_by_role("spinbutton", name="number input for Working set")).to_have_value("0.4")
