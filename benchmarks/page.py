"""How soon the page answers: `python -m benchmarks.page` prints a table, `--json FILE` saves it.

Serves the shipped demo model, visits with headless Chromium, and takes the times a visitor would: until the
page is painted and can be used, from the click on Run to the first word of each answer and to the end, and
from the click on Stop until the page has stopped. `benchmarks/figures.py` times the single figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from sliminfer.config import DEFAULT_PRESET
from sliminfer.models import DEMO_MODEL
from tests.browser.chromium import launch
from tests.page.serving import free_port
from viz.page.serve import open_site, serve

LONG_MS = 300_000
TARGETS_S = {"first paint": 2.0, "page usable": 2.0, "click to both answers": 30.0}
# Times at which a state is first there, by a script in the page: polling from outside would add its own pace.
WATCH = """() => {
  window.times = {};
  const begun = performance.now();
  const states = {
    full: '#pane-full .answering, #pane-full .done', pruned: '#pane-pruned .answering, #pane-pruned .done',
    done: '#status .status.done',
  };
  new MutationObserver(() => {
    for (const [name, where] of Object.entries(states))
      if (!(name in window.times) && document.querySelector(where))
        window.times[name] = (performance.now() - begun) / 1000;
  }).observe(document.querySelector('#results'), {subtree: true, childList: true, attributes: true});
  document.querySelector('#run').click();
}"""


def visit(browser: Browser, url: str) -> dict[str, float]:
    """Seconds of one visit with one run and one stopped run."""
    tab = browser.new_page(viewport={"width": 1360, "height": 900})
    begun = time.perf_counter()
    tab.goto(url, wait_until="commit")
    expect(tab.locator("#run")).to_be_enabled(timeout=LONG_MS)
    usable = time.perf_counter() - begun
    paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    tab.evaluate(WATCH)
    tab.wait_for_function("'done' in window.times", timeout=LONG_MS)
    times = tab.evaluate("window.times")
    tab.click("#run")
    expect(tab.locator("#pane-full .pane.reading")).to_be_visible(timeout=LONG_MS)
    begun = time.perf_counter()
    tab.click("#stop")
    expect(tab.locator("#status")).to_contain_text("Stopped", timeout=LONG_MS)
    stopped = time.perf_counter() - begun
    tab.close()
    return {
        "first paint": paint,
        "page usable": usable,
        "click to the full answer’s first word": times["full"],
        "click to both answers": times["pruned"],
        "click to the end": times["done"],
        "click on Stop to stopped": stopped,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--json", type=Path, help="save the figures here")
    chosen = parser.parse_args()
    site = open_site(DEMO_MODEL, "auto", "auto", DEFAULT_PRESET)
    page = serve(site, "127.0.0.1", free_port(), prevent_thread_lock=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        visits = [visit(browser, page.local_url) for _ in range(chosen.visits)]
        browser.close()
    page.close(verbose=False)
    site.shelf.close()
    rows: list[dict[str, Any]] = [
        {
            "figure": name,
            "median_s": round(statistics.median(times[name] for times in visits), 2),
            "best_s": round(min(times[name] for times in visits), 2),
            "target_s": TARGETS_S.get(name),
        }
        for name in visits[0]
    ]
    print(f"{'figure':<40}{'median s':>10}{'best s':>10}{'target s':>10}")
    for row in rows:
        print(f"{row['figure']:<40}{row['median_s']:>10}{row['best_s']:>10}{row['target_s'] or '':>10}")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
