"""A result goes out as data and comes back, by the button and dropped on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_light import STATUS_DONE, STATUS_ERROR, run_to_the_end
from tests.page.serving import QUESTION
from viz.figures.stored import FOLDER

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
DROP = """(text) => {
    const dragged = new DataTransfer();
    dragged.items.add(new File([text], "result.json", {type: "application/json"}));
    for (const kind of ["dragover", "drop"]) {
        document.querySelector("#tabs").dispatchEvent(
            new DragEvent(kind, {dataTransfer: dragged, bubbles: true, cancelable: true}));
    }
}"""


def data_of_a_run(tab: Page, folder: Path) -> Path:
    run_to_the_end(tab)
    button = tab.get_by_role("button", name="Data, JSON")
    expect(button).to_be_enabled()
    with tab.expect_download() as download:
        button.click()
    path = folder / "run.json"
    download.value.save_as(path)
    return path


def test_a_run_goes_out_and_comes_back_by_button_and_by_drop(open_page: Open, tmp_path: Path) -> None:
    tab = open_page(accept_downloads=True)
    path = data_of_a_run(tab, tmp_path)
    other = open_page()
    other.locator("#open-result").scroll_into_view_if_needed()
    with other.expect_file_chooser() as chooser:
        other.click("#open-result")
    chooser.value.set_files(path)
    expect(other.locator("#opened-words")).to_contain_text(QUESTION)
    expect(other.locator("#opened-words figure")).to_be_visible()
    other.click("#close-opened")
    expect(other.locator("#opened-words")).to_be_hidden()
    other.evaluate(DROP, path.read_text(encoding="utf-8"))
    expect(other.locator("#opened-words")).to_contain_text(QUESTION)
    expect(other.locator(STATUS_DONE)).to_contain_text("Opened")


def test_an_evaluation_is_drawn_and_nonsense_is_one_sentence(open_page: Open) -> None:
    tab = open_page()
    tab.evaluate(DROP, (FOLDER / "eval_demo_1k.json").read_text(encoding="utf-8"))
    expect(tab.locator("#opened-words")).to_contain_text("Opened evaluation")
    expect(tab.locator("#opened-chart .main-svg").first).to_be_visible()
    tab.evaluate(DROP, "no result at all")
    expect(tab.locator(STATUS_ERROR)).to_contain_text("The file is no result")
