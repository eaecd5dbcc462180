"""Results measured before, on the page: an evaluation with the visitor's run beside it, and times by machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_light import run_to_the_end

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


def test_the_methods_tab_marks_the_visitors_run_in_a_stored_evaluation(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Methods").click()
    plot = tab.locator("#stored-accuracy")
    expect(plot.locator(".legendtext")).to_have_text(["full", "sliminfer", "streaming", "random"])
    expect(tab.locator("#tabs")).to_contain_text("50 examples each of needle, multikey, quote, tracking")
    run_to_the_end(tab)
    expect(plot.locator(".legendtext").last).to_have_text("your run")
    expect(tab.locator("#tabs")).to_contain_text("on this machine.")


def test_a_question_of_ones_own_is_marked_by_its_time_alone(open_page: Open) -> None:
    tab = open_page()
    tab.locator("#question textarea").fill("Who lit the lamp?")
    run_to_the_end(tab)
    tab.get_by_role("tab", name="Methods").click()
    expect(tab.locator("#tabs")).to_contain_text("by its time alone, since nobody knows its right answer")


def test_the_about_tab_shows_what_was_measured_on_named_machines(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="About").click()
    figure = tab.locator("#about figure.bars")
    expect(figure).to_contain_text("demo on ")
    expect(figure.locator(".bars-row")).to_have_count(2)
    figure.get_by_text("As a table").click()
    expect(figure.locator("tbody tr")).to_have_count(2)
