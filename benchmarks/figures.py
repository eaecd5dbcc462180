"""How fast the figures reach the screen: `python benchmarks/figures.py` prints a table, `--json FILE` saves it.

Serves the figures with synthetic runs through gradio, presses a button in headless Chromium and takes the
time from the click to the first frame painted after the figure changed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gradio as gr
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from sliminfer.schedule.config import SlimConfig
from tests.browser.chromium import launch
from tests.figures.synthetic import long_prompt, run_of
from viz.figures.document import document_html
from viz.figures.kept import kept_html, panel_html
from viz.figures.kept_map import KeptMap
from viz.figures.theme import script, stylesheet

SIZES = (("4K x 32", 4096, 32), ("32K x 32", 32_768, 32), ("128K x 80", 131_072, 80))
PRESSES = 7
TARGETS_MS = {"map 4K x 32": 60, "document 32K x 32": 600, "map 128K x 80": 2000, "document 128K x 80": 2000}

# Resolves with milliseconds from the click to the frame after the figure's version changed.
PRESS = """([button, target]) => new Promise(done => {
  const version = () => {
    const root = document.querySelector(target);
    return root.querySelector('.kept')?.dataset.key ?? root.querySelector('input')?.name;
  };
  const before = version();
  const begun = performance.now();
  const seen = new MutationObserver(() => {
    if (version() === before) return;
    seen.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
  });
  seen.observe(document.querySelector(target), {subtree: true, childList: true, attributes: true});
  document.querySelector(button).click();
})"""


def drawings(tokens: int, layers: int) -> dict[str, list[str]]:
    """Two versions of each figure, so that every press changes something."""
    prompt = long_prompt(tokens)
    maps = []
    for preset in ("paper", "aggressive"):
        config = SlimConfig.preset(preset, layers)
        maps.append(KeptMap.from_side(run_of(prompt, config, layers).pruned, config))
    return {
        "map": [wide_map(kept, str(index)) for index, kept in enumerate(maps)],
        "document": [document_html(kept, prompt, key=str(index)) for index, kept in enumerate(maps)],
    }


def wide_map(kept: KeptMap, key: str) -> str:
    """The figure with a column for every token up to 4,096, four times what a first drawing holds."""
    whole = (kept, 0, kept.tokens)
    return kept_html(kept, key).replace(panel_html(*whole), panel_html(*whole, 4096))


def serve(port: int, tokens: int, layers: int) -> gr.Blocks:
    """A page with one button and one figure of each kind."""
    with gr.Blocks() as demo:
        for kind, versions in drawings(tokens, layers).items():
            button = gr.Button(kind, elem_id=f"press-{kind}")
            figure = gr.HTML(
                elem_id=f"show-{kind}",
                js_on_load=script("kept" if kind == "map" else "document"),
                apply_default_css=False,
            )
            button.click(alternate(versions), outputs=figure, show_progress="hidden")
    demo.launch(server_port=port, css=stylesheet(), quiet=True, prevent_thread_lock=True)
    return demo


def alternate(versions: list[str]) -> Callable[[], str]:
    """A callback that gives the versions in turn."""
    presses = iter(range(10**9))
    return lambda: versions[next(presses) % len(versions)]


def measure(page: Page, size: str) -> list[dict[str, Any]]:
    """Milliseconds of each figure: the first press, then the best and the median of the others, and the
    median CPU time of the browser's main thread, which a busy machine does not stretch."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    rows = []
    for kind in ("map", "document"):
        walls, cpus = [], []
        for _ in range(PRESSES + 1):
            before = cpu_s(session)
            walls.append(float(page.evaluate(PRESS, [f"#press-{kind}", f"#show-{kind}"])))
            cpus.append(1000 * (cpu_s(session) - before))
        name = f"{kind} {size}"
        rows.append(
            {
                "figure": name,
                "first_ms": round(walls[0], 1),
                "best_ms": round(min(walls[1:]), 1),
                "median_ms": round(statistics.median(walls[1:]), 1),
                "cpu_ms": round(statistics.median(cpus[1:]), 1),
                "target_ms": TARGETS_MS.get(name),
            }
        )
    return rows


def cpu_s(session: CDPSession) -> float:
    """Seconds of CPU that the page's main thread has used so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def measured(browser: Browser, sizes: tuple[tuple[str, int, int], ...], port: int) -> list[dict[str, Any]]:
    """The rows of `measure` for figures of each of `sizes` (name, tokens, layers), served on `port`."""
    rows = []
    for size, tokens, layers in sizes:
        demo = serve(port, tokens, layers)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#press-document")
        rows += measure(page, size)
        page.close()
        demo.close(verbose=False)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="save the figures here")
    parser.add_argument("--port", type=int, default=7871)
    chosen = parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        rows = measured(browser, SIZES, chosen.port)
        browser.close()
    columns = ("first_ms", "best_ms", "median_ms", "cpu_ms", "target_ms")
    print(f"{'figure':<20}" + "".join(f"{name:>11}" for name in columns))
    for row in rows:
        print(f"{row['figure']:<20}" + "".join(f"{row[name] or '':>11}" for name in columns))
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
