"""How the tests, the screenshots and the benchmark start Chromium."""

from __future__ import annotations

from playwright.sync_api import Browser, Playwright

EXECUTABLE = "/usr/bin/chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, headless, with nothing that talks to the network by itself."""
    return playwright.chromium.launch(executable_path=EXECUTABLE, args=list(FLAGS))
