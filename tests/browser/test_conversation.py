"""A conversation in the browser: question after question, by button and by key, and a new beginning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_light import STATUS_DONE, STATUS_ERROR

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
NEXT = "#next-question textarea, #next-question input"


def test_questions_follow_each_other(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Conversation").click()
    tab.locator(NEXT).fill("What is the code of the gate?")
    tab.click("#ask-next")
    expect(tab.locator(STATUS_DONE)).to_contain_text("ask on", timeout=60_000)
    expect(tab.locator("#talk .said")).to_have_count(1)
    expect(tab.locator(NEXT)).to_have_value("")
    expect(tab.locator("#run")).to_be_enabled()
    tab.locator(NEXT).fill("Who lit the lamp?")
    tab.locator(NEXT).press("Enter")
    expect(tab.locator("#talk .asked").nth(1)).to_have_text("Who lit the lamp?")
    expect(tab.locator("#talk li").nth(1)).to_contain_text("with the document read again", timeout=60_000)
    expect(tab.locator("#talk-kept figure")).to_be_visible()
    tab.click("#talk-anew")
    expect(tab.locator("#talk .said")).to_have_count(0)
    expect(tab.locator("#talk .hint")).to_be_visible()


def test_no_question_is_one_sentence(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("tab", name="Conversation").click()
    tab.click("#ask-next")
    expect(tab.locator(STATUS_ERROR)).to_contain_text("The question is empty")
    expect(tab.locator("#run")).to_be_enabled()
