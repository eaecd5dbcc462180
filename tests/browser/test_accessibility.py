"""The page for people who do not see it, or do not use a mouse: axe-core's rules, and the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screenshots import open_tab
from tests.browser.test_first_light import run_to_the_end

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
AXE = Path(__file__).with_name("vendor") / "axe.min.js"
TABS = ("Compare", "Kept tokens", "Conversation", "Diffusion", "Cache", "Runs", "Methods", "About")


def serious(tab: Page) -> list[str]:
    """axe-core's serious and critical findings on the page as it stands, as rule and first element."""
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE.read_text(encoding="utf-8"))
    expect(tab.locator("[aria-label='Empty value']")).to_have_count(0)  # Gradio's own, while a plot is on its way
    # A colour on its way to another is no colour that anybody reads.
    tab.evaluate("""() => Promise.allSettled(
        document.getAnimations().filter((each) => each instanceof CSSTransition).map((each) => each.finished)
    ).then(() => null)""")
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 15, "the rules did look at the page"
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:160]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_on_any_tab(open_page: Open, scheme: str) -> None:
    tab = open_page(color_scheme=scheme, reduced_motion="reduce")
    run_to_the_end(tab)
    expect(tab.get_by_role("button", name="Report, HTML")).to_be_enabled()
    faults = {}
    for name in TABS:
        open_tab(tab, name)
        faults[name] = serious(tab)
    assert faults == {name: [] for name in TABS}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_older_results_are_dimmed_and_still_readable(open_page: Open, scheme: str) -> None:
    tab = open_page(color_scheme=scheme, reduced_motion="reduce")
    run_to_the_end(tab)
    tab.locator("#question textarea").fill("Who lit the lamp?")
    expect(tab.locator(".belongs").first).to_contain_text("belongs to")
    faults = {}
    for name in ("Compare", "Kept tokens", "Cache"):
        open_tab(tab, name)
        faults[name] = serious(tab)
    assert faults == {name: [] for name in faults}


def test_a_run_by_keyboard_alone(open_page: Open) -> None:
    tab = open_page()
    tab.locator("#question textarea").focus()
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == "run":
            break
    assert tab.evaluate("document.activeElement.id") == "run"
    tab.keyboard.press("Enter")
    expect(tab.locator("#status .status.done")).to_be_visible(timeout=60_000)


def test_the_map_answers_to_the_keyboard(open_page: Open) -> None:
    tab = open_page()
    run_to_the_end(tab)
    tab.get_by_role("tab", name="Kept tokens").click()
    tab.locator("#kept-map .kept-plot").focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#kept-map .kept-readout")).to_contain_text("position")
    grid = tab.locator("#kept-map .kept-grid")
    end = grid.get_attribute("data-end")
    tab.keyboard.press("+")
    expect(grid).not_to_have_attribute("data-end", str(end))


def test_the_phone_layout_does_not_scroll_sideways(open_page: Open) -> None:
    tab = open_page(viewport={"width": 390, "height": 844})
    run_to_the_end(tab)
    for name in TABS:
        open_tab(tab, name)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
