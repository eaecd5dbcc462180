"""The first half minute: a recorded run plays before any click, its tour is clean, and a phone has Run in sight."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_accessibility import serious
from tests.browser.test_first_light import run_to_the_end

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
LEFT = """document.querySelector('.recording').getAnimations({subtree: true})
  .filter((each) => each.playState !== 'finished').length"""
# What can be pressed and is lower than a finger is wide. The field of a list or a radio is less than its frame.
TARGETS = """() => [...document.querySelectorAll('button, select, summary, textarea, .segmented label, #example .wrap')]
  .filter((each) => each.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !each.closest('footer'))
  .map((each) => [each.outerHTML.slice(0, 90), each.getBoundingClientRect()])
  .filter(([, box]) => box.width > 1 && box.height > 1 && box.height < 43.5)
  .map(([html, box]) => `${html} ${Math.round(box.height)}`)"""


def test_it_plays_before_any_click_and_leaves_with_the_first_run(open_page: Open) -> None:
    tab = open_page()
    assert tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 5_000
    recording = tab.locator("#recording .recording")
    expect(recording).to_be_visible()
    expect(tab.locator("#first-light")).to_have_count(0)
    expect(recording.locator(".rec-of")).to_contain_text("Recording")
    assert tab.evaluate(LEFT) > 20, "it moves by itself"
    expect(tab.locator("#panes")).to_be_hidden()
    recording.get_by_role("button", name="Pause").click()
    expect(recording.get_by_role("button", name="Play on")).to_be_visible()
    recording.get_by_role("button", name="Run it yourself").click()
    expect(tab.locator("#status .status.done")).to_be_visible(timeout=60_000)
    expect(recording).to_be_hidden()
    expect(tab.locator("#panes")).to_be_visible()
    tab.locator("#show-recording").click()
    expect(recording).to_be_visible()
    expect(tab.locator("#panes")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tour_is_four_steps_and_clean_in_each(open_page: Open, scheme: str) -> None:
    tab = open_page(color_scheme=scheme, reduced_motion="reduce")
    assert tab.evaluate(LEFT) == 0, "where motion is not wanted the end stands there"
    expect(tab.locator(".rec-play")).to_be_hidden()
    expect(tab.locator(".rec-answer").first).to_contain_text(" ")
    assert serious(tab) == []
    tab.get_by_role("button", name="Tour in four steps").click()
    faults = {}
    for step in ("1 of 4 · Read all", "2 of 4 · Score", "3 of 4 · Drop", "4 of 4 · Same answer"):
        expect(tab.locator(".tour-step:not([hidden]) > h3")).to_have_text(step)
        faults[step] = serious(tab)
        tab.locator(".tour-next").click()
    assert not any(faults.values()), faults
    expect(tab.locator(".tour")).to_be_hidden()
    tab.get_by_role("button", name="Tour in four steps").click()
    tab.locator(".tour-tab:visible").click()
    expect(tab.get_by_role("tab", name="Diffusion")).to_have_attribute("aria-selected", "true")
    tab.get_by_role("tab", name="Compare").click()
    tab.keyboard.press("Tab")
    tab.get_by_role("button", name="Skip the tour").click()
    expect(tab.locator(".rec-idea")).to_be_visible()


def test_a_phone_has_question_and_run_in_sight_and_settings_in_a_drawer(open_page: Open) -> None:
    tab = open_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    expect(tab.locator("#question textarea")).to_be_in_viewport(ratio=1)
    expect(tab.locator("#run")).to_be_in_viewport(ratio=1)
    expect(tab.locator("#preset")).to_be_hidden()
    assert tab.evaluate(TARGETS) == []
    tab.get_by_role("button", name="Settings", exact=True).click()
    expect(tab.locator("#preset")).to_be_visible()
    expect(tab.locator("#model-select")).to_be_visible()
    assert tab.evaluate(TARGETS) == []
    assert serious(tab) == []
    tab.get_by_role("button", name="Close settings").click()
    run_to_the_end(tab)
    order = "(names) => names.map((name) => document.querySelector(name).getBoundingClientRect().top)"
    tops = tab.evaluate(order, ["#question", "#run", "#panes"])
    assert tops == sorted(tops)
    assert tab.evaluate(TARGETS) == []


def test_run_and_stop_hand_the_focus_to_each_other(open_page: Open) -> None:
    tab = open_page(reduced_motion="reduce")
    tab.locator("#run").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#status .status.done")).to_be_visible(timeout=60_000)
    expect(tab.locator("#run")).to_be_focused()
