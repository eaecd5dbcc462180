"""A result goes out as data and comes back, by the button and dropped on the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_light import STATUS_ERROR, run_to_the_end
from viz.figures.stored import FOLDER

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
DROP = """([target, name, text]) => {
    const files = new DataTransfer();
    files.items.add(new File([text], name, { type: 'application/json' }));
    for (const kind of ['dragover', 'drop'])
        document.querySelector(target).dispatchEvent(
            new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


def test_a_saved_result_opens_where_it_is_dropped_and_by_its_button(open_page: Open, tmp_path: Path) -> None:
    tab = open_page()
    run_to_the_end(tab)
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="Data, JSON").click()
    path = tmp_path / "mine.json"
    waiting.value.save_as(path)
    answer = tab.locator("#pane-pruned .answer").inner_text()
    dropped = open_page()
    assert dropped.evaluate("document.querySelectorAll('#share input[type=file]').length") == 1
    dropped.evaluate(DROP, ["#tabs", "notes.txt", "no result"])
    expect(dropped.locator("#open-hint")).to_contain_text("Only a result saved as JSON")
    dropped.evaluate(DROP, ["#tabs", "mine.json", path.read_text(encoding="utf-8")])
    expect(dropped.locator(".opened").first).to_contain_text("Opened from mine.json, run by")
    expect(dropped.locator("#pane-pruned .answer")).to_have_text(answer)
    expect(dropped.locator("#glance-map figure.kept")).to_be_visible()
    expect(dropped.get_by_role("button", name="Picture, PNG")).to_be_enabled()
    dropped.locator("#glance-map .kept-plot").hover()
    expect(dropped.locator("#glance-map .kept-readout")).to_contain_text("position")
    chosen = open_page()
    with chosen.expect_file_chooser() as chooser:
        chosen.click("#open-result")
    chooser.value.set_files(path)
    expect(chosen.locator(".opened").first).to_be_visible()
    chosen.locator("#share input[type=file]").set_input_files(FOLDER / "eval_demo_4k.json")
    expect(chosen.locator("#status")).to_contain_text("shown on the Methods tab")
    chosen.get_by_role("tab", name="Methods").click()
    expect(chosen.locator("#stored input")).to_have_value(re.compile("4,096 tokens, opened from eval_demo_4k.json"))
    expect(chosen.locator("#stored-accuracy .js-plotly-plot")).to_be_visible()


def test_nonsense_is_one_sentence_and_changes_nothing(open_page: Open) -> None:
    tab = open_page()
    tab.evaluate(DROP, ["#tabs", "x.json", "no result at all"])
    expect(tab.locator(STATUS_ERROR)).to_contain_text("The file is no result")
    expect(tab.locator(".opened")).to_have_count(0)
    expect(tab.get_by_role("button", name="Data, JSON")).to_be_disabled()
