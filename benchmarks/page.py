"""How soon the page answers: `python -m benchmarks.page` prints a table, `--json FILE` saves it.

Serves the shipped demo model, visits with headless Chromium, and takes the times a visitor would: until the
page is painted and can be used, from the click on Run to the first word of each answer and to the end, and
from the click on Stop until the page has stopped. Then the whole page is given the events of a synthetic run of
a 128K-token prompt at once, which is a result without the wait for it. `benchmarks/figures.py` has the single
figures; those with a target stand here as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from benchmarks.figures import measured
from sliminfer.engine.events import Event
from sliminfer.engine.request import RunRequest
from sliminfer.model.loading import DEMO_MODEL
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET
from tests.browser.chromium import launch
from tests.figures.synthetic import events_of, long_prompt
from tests.page.serving import free_port
from viz.page.examples import examples
from viz.page.serve import open_site, serve

LONG_MS = 300_000
LONG_EXAMPLE = "town_archive"
LONG_TITLE = next(example.title for example in examples() if example.id == LONG_EXAMPLE)
RESULT = "128K x 80"
TARGETS_S = {
    "first paint": 0.5,  # with the recorded run
    "picture of the recording": 1.0,
    "page usable": 2.0,
    "click to both answers": 30.0,
    f"page usable with a result of {RESULT}": 2.0,
    f"opening the marked document of {RESULT}": 2.0,
}
FIGURES = (("4K x 32", 4096, 32), ("32K x 32", 32_768, 32))
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

# Resolves with seconds from a click on Stop, made as soon as the prompt is being read, until the page has stopped.
STOP = """() => new Promise(done => {
  let begun = 0;
  new MutationObserver((_, seen) => {
    if (!begun && document.querySelector('#pane-full .pane.reading')) {
      begun = performance.now();
      document.querySelector('#stop').click();
    } else if (begun && document.querySelector('#status').textContent.includes('Stopped')) {
      seen.disconnect();
      done((performance.now() - begun) / 1000);
    }
  }).observe(document.querySelector('#results'), {subtree: true, childList: true, attributes: true});
  document.querySelector('#run').click();
})"""


def visit(browser: Browser, url: str) -> dict[str, float]:
    """Seconds of one visit with one run and one stopped run."""
    tab = browser.new_page(viewport={"width": 1360, "height": 900})
    begun = time.perf_counter()
    tab.goto(url, wait_until="commit")
    tab.wait_for_function("document.querySelector('.recording .kept-cells')?.complete", polling="raf", timeout=LONG_MS)
    picture = time.perf_counter() - begun
    expect(tab.locator("#run")).to_be_enabled(timeout=LONG_MS)
    usable = time.perf_counter() - begun
    paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    tab.evaluate(WATCH)
    tab.wait_for_function("'done' in window.times", timeout=LONG_MS)
    times = tab.evaluate("window.times")
    tab.goto(f"{url}?example={LONG_EXAMPLE}")  # a prompt long enough to be stopped while it is read
    expect(tab.locator("#about-document b")).to_have_text(LONG_TITLE, timeout=LONG_MS)
    stopped = tab.evaluate(STOP)
    tab.close()
    return {
        "first paint": paint,
        "picture of the recording": picture,
        "page usable": usable,
        "click to the full answer’s first word": times["full"],
        "click to both answers": times["pruned"],
        "click to the end": times["done"],
        "click on Stop to stopped": stopped,
    }


class SyntheticEngine:
    """Has the events of a finished run ready, whatever is asked."""

    def __init__(self, tokens: int, layers: int, config: SlimConfig) -> None:
        self.events = tuple(events_of(long_prompt(tokens), config, layers))

    def compare(self, request: RunRequest) -> Iterator[Event]:
        """The events, at once."""
        return iter(self.events)


# Resolves with seconds from a click on `button` until `shown` is there and the next frames are painted.
CLICK = """([button, shown]) => new Promise(done => {
  const begun = performance.now();
  const look = () => {
    if (!document.querySelector(shown)) return;
    seen.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => done((performance.now() - begun) / 1000)));
  };
  const seen = new MutationObserver(look);
  seen.observe(document.body, {subtree: true, childList: true, attributes: true});
  document.querySelector(button).click();
  look();
})"""


def visit_result(browser: Browser, url: str) -> dict[str, float]:
    """Seconds until the page can be used with a long result, and until its document is open."""
    tab = browser.new_page(viewport={"width": 1360, "height": 900})
    tab.goto(url)
    expect(tab.locator("#run")).to_be_enabled(timeout=LONG_MS)
    usable = tab.evaluate(CLICK, ["#run", "#status .status.done"])
    expect(tab.locator("#glance-map figcaption")).to_contain_text("131,072 tokens across, 80 layers down")
    opened = tab.evaluate(CLICK, ["#tabs button[role=tab]:nth-child(2)", "#document-text .doc-after"])
    tab.close()
    return {
        f"page usable with a result of {RESULT}": usable,
        f"opening the marked document of {RESULT}": opened,
    }


def row(figure: str, seconds: Sequence[float], target_s: float | None) -> dict[str, Any]:
    """One line of the table."""
    return {
        "figure": figure,
        "first_s": round(seconds[0], 3),
        "median_s": round(statistics.median(seconds), 3),
        "best_s": round(min(seconds), 3),
        "target_s": target_s,
    }


def figure_row(found: dict[str, Any]) -> dict[str, Any]:
    """A line of `benchmarks/figures.py` as one of this table."""
    seconds = {f"{name}_s": round(found[f"{name}_ms"] / 1000, 3) for name in ("first", "median", "best", "target")}
    return {"figure": f"update of the {found['figure']}", **seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--json", type=Path, help="save the figures here")
    chosen = parser.parse_args()
    site = open_site(DEMO_MODEL, "auto", "auto", DEFAULT_PRESET)
    site.patience_s = 0.0  # the page is measured here, not how long it goes on for the clock alone
    page = serve(site, "127.0.0.1", free_port(), prevent_thread_lock=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        visits = [visit(browser, page.local_url) for _ in range(chosen.visits)]
        synthetic = SyntheticEngine(131_072, 80, site.start.config())
        site.shelf.engine = lambda name: synthetic  # type: ignore[assignment,method-assign,return-value]
        results = [visit_result(browser, page.local_url) for _ in range(chosen.visits)]
        figures = measured(browser, FIGURES, free_port())
        browser.close()
    page.close(verbose=False)
    site.shelf.close()
    rows = [
        row(name, [times[name] for times in group], TARGETS_S.get(name))
        for group in (visits, results)
        for name in group[0]
    ]
    rows += [figure_row(found) for found in figures if found["target_ms"]]
    print(f"{'figure':<44}{'first s':>10}{'median s':>10}{'best s':>10}{'target s':>10}")
    for each in rows:
        print(
            f"{each['figure']:<44}{each['first_s']:>10}{each['median_s']:>10}{each['best_s']:>10}"
            f"{each['target_s'] or '':>10}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
