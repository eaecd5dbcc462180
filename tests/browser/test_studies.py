"""The tabs that study a document further: diffusion of a passage, and several methods at one budget."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_light import STATUS_DONE, STATUS_ERROR

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


def test_diffusion_of_the_evidence_is_measured_and_drawn(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Diffusion").click()
    tab.get_by_role("button", name="Measure diffusion").click()
    expect(tab.locator("#status")).to_contain_text("layer runs")
    expect(tab.locator(STATUS_DONE)).to_contain_text("Done: diffusion of the passage", timeout=120_000)
    expect(tab.locator("#curve-removal .main-svg").first).to_be_visible()
    expect(tab.locator("#curve-attention .main-svg").first).to_be_visible()
    expect(tab.locator("#similarity")).to_contain_text("Where the span")


def test_a_passage_that_is_not_there_is_one_sentence(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Diffusion").click()
    tab.locator("#phrase textarea, #phrase input").fill("no such words")
    tab.get_by_role("button", name="Measure diffusion").click()
    expect(tab.locator(STATUS_ERROR)).to_contain_text("The passage is not in the document")


def test_selected_text_becomes_the_passage(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Kept tokens").click()
    tab.evaluate("""() => {
        const node = document.querySelector('#document-text .doc-text .doc-chunk').firstChild;
        const range = document.createRange();
        range.setStart(node, 0);
        range.setEnd(node, 25);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
    }""")
    tab.get_by_role("tab", name="Diffusion").click()
    tab.get_by_role("button", name="Take the text selected").click()
    expect(tab.locator("#phrase textarea, #phrase input")).to_have_value("On day 0 the keeper of th")


def test_text_selected_after_a_run_is_measured_where_it_stands(open_page: Open) -> None:
    tab = open_page()
    tab.click("#run")
    expect(tab.locator(STATUS_DONE)).to_be_visible(timeout=60_000)
    tab.get_by_role("tab", name="Kept tokens").click()
    tab.evaluate("""() => {
        const spans = [...document.querySelectorAll('#document-text .doc-text span')];
        const long = spans.filter((span) => span.firstChild.length >= 30);
        const span = long[Math.floor(long.length / 2)];
        const range = document.createRange();
        range.setStart(span.firstChild, 0);
        range.setEnd(span.firstChild, 30);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        span.dispatchEvent(new PointerEvent('pointerup', { bubbles: true }));
    }""")
    tab.get_by_role("tab", name="Diffusion").click()
    phrase = tab.locator("#phrase textarea, #phrase input")
    expect(phrase).not_to_have_value("")
    text = phrase.input_value()
    tab.get_by_role("button", name="Measure diffusion").click()
    expect(tab.locator("#diffusion-words")).to_contain_text(f"Passage: “{text}”", timeout=60_000)
    expect(tab.locator("#diffusion-words")).to_contain_text("probes")


def test_methods_are_compared_at_one_budget(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Methods").click()
    tab.get_by_role("button", name="Compare methods").click()
    expect(tab.locator(STATUS_DONE)).to_contain_text("Done: 4 methods", timeout=120_000)
    rows = tab.locator("#methods-table tbody tr")
    expect(rows).to_have_count(5)
    for index in range(1, 5):
        by_flops = rows.nth(index).locator("td").nth(2).inner_text()
        assert float(by_flops.rstrip("×")) == pytest.approx(2, abs=0.15)
    expect(tab.locator("#methods-strips")).to_contain_text("What each method keeps")
