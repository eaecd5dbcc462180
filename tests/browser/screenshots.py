"""Pictures of the page's states into assets/screenshots: `make screenshots`. Needs the shipped demo model.

`python -m tests.browser.screenshots --looks phone --states cache --folder /tmp/pictures` takes some of them, anywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from playwright.sync_api import Page, expect, sync_playwright

from sliminfer.model.loading import DEMO_MODEL
from sliminfer.schedule.presets import DEFAULT_PRESET
from tests.browser.chromium import launch
from tests.page.serving import free_port
from viz.page.examples import examples
from viz.page.serve import open_site, serve

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "screenshots"
RUN_MS = 300_000  # a long document on a small machine


@dataclass(frozen=True)
class Look:
    """How a visitor looks at the page."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


LOOKS = {
    look.name: look
    for look in (Look("light", 1360, 900, "light"), Look("dark", 1360, 900, "dark"), Look("phone", 390, 844, "light"))
}


def main() -> None:
    """Serve the demo model and photograph it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", nargs="+", choices=list(LOOKS), default=list(LOOKS), help="default: all of them")
    parser.add_argument("--states", nargs="+", choices=list(STATES), default=list(STATES), help="default: all of them")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    chosen.folder.mkdir(exist_ok=True)
    site = open_site(DEMO_MODEL, "auto", "auto", DEFAULT_PRESET)
    page = serve(site, "127.0.0.1", free_port(), prevent_thread_lock=True)
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            for name in chosen.looks:
                look = LOOKS[name]
                size = {"width": look.width, "height": look.height}
                for state in chosen.states:
                    tab = browser.new_page(viewport=size, color_scheme=look.scheme)
                    visit(tab, page.local_url)
                    whole = STATES[state](tab)
                    path = chosen.folder / f"{state}_{name}.png"
                    tab.screenshot(path=path, full_page=whole, animations="disabled")
                    print(path)
                    tab.close()
            browser.close()
    finally:
        page.close()
        site.shelf.close()


# Each brings a fresh page into its state, and says whether to show all of it or only what is in sight.


def start(tab: Page) -> bool:
    return False


def recording(tab: Page) -> bool:
    """At the end of the recorded run."""
    tab.emulate_media(reduced_motion="reduce")
    return True


def tour(tab: Page) -> bool:
    """In its second step."""
    tab.emulate_media(reduced_motion="reduce")
    tab.get_by_role("button", name="Tour in four steps").click()
    tab.locator(".tour-next").click()
    return True


def running(tab: Page) -> bool:
    """While a long document is read."""
    long = examples()[-1]
    visit(tab, f"{tab.url}?{urlencode({'example': long.id, 'question': long.suggestions[0].question})}")
    expect(tab.locator("#about-document b")).to_have_text(long.title)
    tab.click("#run")
    expect(tab.locator("#pane-full .pane.reading")).to_be_visible(timeout=RUN_MS)
    return False


def compare(tab: Page) -> bool:
    tab.click("#run")
    finished(tab)
    return True


def kept(tab: Page) -> bool:
    compare(tab)
    open_tab(tab, "Kept tokens")
    return True


def conversation(tab: Page) -> bool:
    """After three questions."""
    asked = [suggestion.question for suggestion in examples()[0].suggestions][:3]
    open_tab(tab, "Conversation")
    for number, question in enumerate(asked, 1):
        tab.locator("#next-question textarea, #next-question input").fill(question)
        tab.click("#ask-next")
        expect(tab.locator("#talk .said")).to_have_count(number, timeout=RUN_MS)
        expect(tab.locator("#status .status.done")).to_be_visible(timeout=RUN_MS)
    return True


def lost(tab: Page) -> bool:
    """Where the answer lost its evidence, and a passage that is kept by hand."""
    kept(tab)
    tab.click("#trace")
    expect(tab.locator("#trace-words .verdict")).to_be_visible(timeout=RUN_MS)
    tab.get_by_role("radio", name="Click: keep or drop").check(force=True)
    evidence = tab.locator("#document-text .doc-text span.ev").first
    evidence.scroll_into_view_if_needed()
    box = evidence.evaluate("text => { const box = text.getClientRects()[0]; return [box.x, box.y, box.height]; }")
    tab.mouse.click(box[0] + 12, box[1] + box[2] / 2)
    expect(tab.locator("#hands li")).to_be_visible()
    return True


def runs(tab: Page) -> bool:
    """Two prunings of one question over each other."""
    compare(tab)
    tab.get_by_role("radio", name="Gentle").check(force=True)
    expect(tab.locator(".belongs").first).to_be_attached()
    tab.click("#run")
    expect(tab.locator("#status .status.busy")).to_be_visible()
    finished(tab)
    open_tab(tab, "Runs")
    expect(tab.locator("#runs-over figure")).to_be_visible(timeout=RUN_MS)
    return True


def cache(tab: Page) -> bool:
    """With a document long enough for blocks to move."""
    visit(tab, f"{tab.url}?{urlencode({'example': 'expedition_log'})}")
    open_tab(tab, "Cache")
    tab.click("#half")
    finished(tab)
    expect(tab.locator("#cache-bytes .main-svg").first).to_be_visible(timeout=RUN_MS)
    return True


def methods(tab: Page) -> bool:
    compare(tab)
    open_tab(tab, "Methods")
    tab.click("#compare-methods")
    expect(tab.locator("#status .status.done")).to_contain_text("methods", timeout=RUN_MS)
    expect(tab.locator("#stored-accuracy .main-svg").first).to_be_visible(timeout=RUN_MS)
    return True


def diffusion(tab: Page) -> bool:
    open_tab(tab, "Diffusion")
    tab.click("#measure-diffusion")
    expect(tab.locator("#status .status.done")).to_contain_text("diffusion", timeout=2 * RUN_MS)
    expect(tab.locator("#curve-attention .main-svg").first).to_be_visible(timeout=RUN_MS)
    return True


def about(tab: Page) -> bool:
    open_tab(tab, "About")
    return True


def error(tab: Page) -> bool:
    tab.locator("#question textarea").fill("")
    tab.click("#run")
    expect(tab.locator("#status .status.error")).to_be_visible()
    return False


STATES: dict[str, Callable[[Page], bool]] = {
    state.__name__: state
    for state in (
        start, recording, tour, running, compare, kept, conversation, lost, cache, runs, methods, diffusion, about,
        error,
    )
}  # fmt: skip


def finished(tab: Page) -> None:
    """Wait for the end of a run and for its files."""
    expect(tab.locator("#status .status.done")).to_be_visible(timeout=RUN_MS)
    expect(tab.locator("#share button").nth(1)).to_be_enabled(timeout=RUN_MS)


def visit(tab: Page, url: str) -> None:
    """Open the page."""
    tab.goto(url)
    expect(tab.locator("#run")).to_be_enabled()


def open_tab(tab: Page, name: str) -> None:
    """Open a tab of the page, through the menu of those that do not fit where it is there."""
    shown, more = tab.get_by_role("tab", name=name), tab.get_by_role("button", name="More tabs")
    expect(shown.or_(more).first).to_be_visible()  # the page sorts its tabs once it knows its width
    if shown.count():
        shown.click()
    else:
        more.click()
        tab.locator("#tabs .overflow-dropdown").get_by_role("button", name=name).click()
    expect(tab.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


if __name__ == "__main__":
    main()
