"""Every figure leaves the page by one click: as a picture, or its numbers as a spreadsheet takes them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.screenshots import open_tab
from tests.browser.test_first_light import run_to_the_end

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
FIGURES = "figure.fig, .fig.cards, .fig:has(> .fig-caption)"
BARE = f"""() => [...document.querySelectorAll('{FIGURES}')]
    .filter((each) => !each.querySelector('.fig-picture') && !each.parentElement.closest('{FIGURES}'))
    .map((each) => each.outerHTML.slice(0, 80))"""
PICTURE = """async () => {
    const [item] = await navigator.clipboard.read();
    const bytes = new Uint8Array(await (await item.getType('image/png')).arrayBuffer());
    return btoa(bytes.reduce((text, each) => text + String.fromCharCode(each), ''));
}"""
FORBIDDEN = """() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
    document.execCommand = () => false;
}"""
MAY = ["clipboard-read", "clipboard-write"]


def copied(tab: Page, figure: str) -> Image.Image:
    """The picture in the clipboard once the button of `figure` was pressed."""
    button = tab.locator(f"{figure} .fig-picture").first
    button.scroll_into_view_if_needed()
    button.click()
    expect(tab.locator(f"{figure} .fig-said")).to_have_text("Copied")
    return Image.open(io.BytesIO(base64.b64decode(tab.evaluate(PICTURE)))).convert("RGB")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_copied_as_the_picture_that_it_is(open_page: Open, scheme: str) -> None:
    tab = open_page(permissions=MAY, color_scheme=scheme, reduced_motion="reduce")
    run_to_the_end(tab)
    for name in ("Methods", "Cache", "Runs", "Kept tokens", "Compare"):
        open_tab(tab, name)
        tab.wait_for_timeout(200)
        assert tab.evaluate(BARE) == []
    open_tab(tab, "Compare")
    for figure in ("#cards", "#glance-map", "#details figure", "#replay"):
        picture = copied(tab, figure)
        assert min(picture.size) > 100
        colours = picture.getcolors(2**24)
        assert colours is not None
        assert len(colours) > 20, figure
        surface = (21, 25, 31) if scheme == "dark" else (255, 255, 255)
        assert picture.getpixel((2, 2)) == surface
    blue = (61, 157, 216) if scheme == "dark" else (0, 114, 178)
    assert near(copied(tab, "#details figure"), blue), "the pruned side's bars"
    open_tab(tab, "Methods")
    expect(tab.locator("#stored-accuracy .js-plotly-plot")).to_be_visible()
    chart = tab.locator(".fig:has(> .fig-caption)").filter(has_text="Accuracy against time").first
    chart.locator(".fig-picture").click()
    expect(chart.locator(".fig-said")).to_have_text("Copied")
    drawn = Image.open(io.BytesIO(base64.b64decode(tab.evaluate(PICTURE)))).convert("RGB")
    assert drawn.height > 600, "caption and drawing, at twice their size"
    assert near(drawn, blue) or near(drawn, (0, 114, 178))


def near(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    """Whether some pixels of `picture` have about that colour."""
    counted = picture.getcolors(2**24) or []
    alike = (count for count, found in counted if max(abs(a - b) for a, b in zip(found, colour, strict=True)) < 40)
    return sum(alike) > 20


def test_where_no_picture_may_be_copied_the_table_is(open_page: Open) -> None:
    tab = open_page(permissions=MAY)
    tab.evaluate("() => { navigator.clipboard.write = () => Promise.reject(new DOMException('', 'NotAllowedError')) }")
    run_to_the_end(tab)
    tab.locator("#details .fig-picture").first.click()
    expect(tab.locator("#details .fig-said")).to_have_text("Copied as text")
    lines = tab.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0] == "Part\tFull\tPruned\tRatio"
    assert lines[1].startswith("Time to first token\t")


def test_where_nothing_may_be_copied_one_sentence_says_so(open_page: Open) -> None:
    tab = open_page()
    tab.evaluate(FORBIDDEN)
    run_to_the_end(tab)
    tab.locator("#cards .fig-picture").click()
    expect(tab.locator("#cards .fig-said")).to_contain_text("does not let this page copy")
    expect(tab.locator("p.fig-sr[role=status]")).to_contain_text("does not let this page copy")


def test_the_button_is_reached_by_keyboard_and_large_enough_for_a_finger(open_page: Open) -> None:
    tab = open_page(permissions=MAY, viewport={"width": 390, "height": 844})
    run_to_the_end(tab)
    button = tab.locator("#glance-map .fig-picture")
    box = button.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 44
    assert button.get_attribute("aria-label") == "Copy picture: Kept tokens"
    button.focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#glance-map .fig-said")).to_have_text("Copied")
    assert tab.evaluate("document.activeElement.className") == "fig-picture"


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
    tab.evaluate(FORBIDDEN)
    button = tab.locator("#glance-map .fig-copy")
    button.click()
    expect(button).to_contain_text("does not let this page copy")
