"""Pictures of the page's states into assets/screenshots: `make screenshots`. Needs the shipped demo model."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from sliminfer.config import DEFAULT_PRESET
from sliminfer.models import DEMO_MODEL
from tests.browser.chromium import launch
from tests.page.serving import free_port
from viz.page.serve import open_site, serve

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "screenshots"
DESKTOP = {"width": 1360, "height": 900}
PHONE = {"width": 390, "height": 844}
RUN_MS = 300_000  # a long document on a small machine


def main() -> None:
    """Serve the demo model and photograph it."""
    FOLDER.mkdir(exist_ok=True)
    site = open_site(DEMO_MODEL, "auto", "auto", DEFAULT_PRESET)
    page = serve(site, "127.0.0.1", free_port(), prevent_thread_lock=True)
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            for scheme in ("light", "dark"):
                desktop(browser, page.local_url, scheme)
            phone(browser, page.local_url)
            browser.close()
    finally:
        page.close()
        site.shelf.close()


def desktop(browser: Browser, url: str, scheme: str) -> None:
    """Before, during and after a run, and every tab, on a wide screen."""
    tab = browser.new_page(viewport=DESKTOP, color_scheme=scheme)
    tab.goto(url)
    expect(tab.locator("#run")).to_be_enabled()
    shoot(tab, f"start_{scheme}")
    tab.click("#run")
    expect(tab.locator("#pane-full .answer:not(.idle), #pane-full .pane.reading").first).to_be_visible(timeout=RUN_MS)
    shoot(tab, f"running_{scheme}")
    finished(tab)
    shoot(tab, f"compare_{scheme}", whole=True)
    visit(tab, "Kept tokens")
    shoot(tab, f"kept_{scheme}", whole=True)
    visit(tab, "About")
    shoot(tab, f"about_{scheme}", whole=True)
    visit(tab, "Cache")
    tab.click("#half")
    expect(tab.locator("#status .status.busy")).to_be_visible()
    finished(tab)
    expect(tab.locator("#cache-bytes .main-svg").first).to_be_visible(timeout=RUN_MS)
    shoot(tab, f"cache_{scheme}", whole=True)
    visit(tab, "Methods")
    tab.click("#compare-methods")
    expect(tab.locator("#status .status.done")).to_contain_text("methods", timeout=RUN_MS)
    shoot(tab, f"methods_{scheme}", whole=True)
    visit(tab, "Diffusion")
    tab.click("#measure-diffusion")
    expect(tab.locator("#status .status.done")).to_contain_text("diffusion", timeout=2 * RUN_MS)
    expect(tab.locator("#curve-attention .main-svg").first).to_be_visible(timeout=RUN_MS)
    shoot(tab, f"diffusion_{scheme}", whole=True)
    tab.locator("#question textarea").fill("")
    tab.click("#run")
    expect(tab.locator("#status .status.error")).to_be_visible()
    visit(tab, "Compare")
    shoot(tab, f"error_{scheme}")
    tab.close()


def phone(browser: Browser, url: str) -> None:
    """A finished run on a narrow screen."""
    tab = browser.new_page(viewport=PHONE, color_scheme="light")
    tab.goto(url)
    expect(tab.locator("#run")).to_be_enabled()
    shoot(tab, "start_phone")
    tab.click("#run")
    finished(tab)
    shoot(tab, "compare_phone", whole=True)
    tab.close()


def finished(tab: Page) -> None:
    """Wait for the end of a run and for its files."""
    expect(tab.locator("#status .status.done")).to_be_visible(timeout=RUN_MS)
    expect(tab.locator("#share button").nth(1)).to_be_enabled(timeout=RUN_MS)


def visit(tab: Page, name: str) -> None:
    """Open a tab of the page."""
    tab.get_by_role("tab", name=name).click()
    expect(tab.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def shoot(tab: Page, name: str, whole: bool = False) -> None:
    """Save what is to be seen, or the whole page."""
    tab.screenshot(path=FOLDER / f"{name}.png", full_page=whole, animations="disabled")
    print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
