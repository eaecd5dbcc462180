"""What a visitor does in the first minutes: run, watch, stop, upload, paste, get it wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.serving import QUESTION, Served, long_text

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
STATUS_DONE = "#status .status.done"
STATUS_ERROR = "#status .status.error"


def run_to_the_end(tab: Page) -> None:
    tab.click("#run")
    expect(tab.locator(STATUS_DONE)).to_be_visible(timeout=60_000)


def upload(tab: Page, path: Path) -> None:
    tab.get_by_role("radio", name="Upload").check(force=True)
    tab.locator("#upload input[type=file]").wait_for(state="attached")
    tab.locator("#upload input[type=file]").set_input_files(path)


def test_one_click_on_run_shows_everything(open_page: Open) -> None:
    tab = open_page()
    expect(tab.locator("#question textarea")).to_have_value(QUESTION)
    run_to_the_end(tab)
    for side in ("full", "pruned"):
        expect(tab.locator(f"#pane-{side} .answer:not(.idle)")).not_to_be_empty()
        assert tab.locator(f"#pane-{side} .stairs i.on").count() == 12
    expect(tab.locator("#verdict")).to_contain_text("the pruned model began to answer")
    expect(tab.locator("#cards .card-ratio").nth(2)).to_contain_text("smaller")
    expect(tab.locator("#glance-map .kept-plot")).to_be_visible()
    tab.get_by_role("tab", name="Kept tokens").click()
    expect(tab.locator("#document-text .doc-text")).to_contain_text("The code of the gate is 48213.")
    assert tab.locator("#document-text .doc-text span").count() > 1


def test_both_panes_fill_while_the_run_goes_on(open_page: Open) -> None:
    tab = open_page("?max_new_tokens=256")
    tab.evaluate("""() => {
        window.seen = [];
        const words = (side) => document.querySelector(`#pane-${side} .answer:not(.idle)`)?.textContent ?? '';
        new MutationObserver(() => window.seen.push({
            busy: !!document.querySelector('#status .busy'), full: words('full'), pruned: words('pruned'),
        })).observe(document.querySelector('#results'), {subtree: true, childList: true, characterData: true});
    }""")
    run_to_the_end(tab)
    expect(tab.locator("#run")).to_be_enabled()
    seen = tab.evaluate("window.seen")
    assert any(moment["busy"] and moment["full"] and moment["pruned"] for moment in seen)
    assert len({moment["full"] for moment in seen}) > 2, "the answer grows instead of coming at once"


def test_stop_stops_within_the_prefill(open_page: Open) -> None:
    tab = open_page()
    tab.locator("#example input").click()
    tab.get_by_role("option", name="The archive log").click()
    expect(tab.locator("#about-document")).to_contain_text("The archive log")
    tab.click("#run")
    expect(tab.locator("#pane-full .pane.reading")).to_be_visible()
    tab.click("#stop")
    # A slow browser may press it only after the first side's prefill.
    expect(tab.locator("#status")).to_contain_text(re.compile(r"Stopped in the (full|pruned) model at layer"))
    expect(tab.locator("#run")).to_be_enabled()
    expect(tab.locator("#stop")).to_be_disabled()


def test_an_uploaded_document_is_read_and_run(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "tower.md"
    path.write_text("# Tower\n\n" + long_text(8), encoding="utf-8")
    tab = open_page()
    upload(tab, path)
    expect(tab.locator("#about-document")).to_contain_text("tower.md")
    expect(tab.locator("#about-document")).to_contain_text("markdown")
    run_to_the_end(tab)
    tab.get_by_role("tab", name="Kept tokens").click()
    expect(tab.locator("#document-text .doc-text")).to_contain_text("On day 7 the keeper")


def test_a_file_that_cannot_be_read_is_one_sentence(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "broken.pdf"
    path.write_bytes(b"no document at all")
    tab = open_page()
    upload(tab, path)
    expect(tab.locator(STATUS_ERROR)).to_contain_text("'broken.pdf' is not a PDF inside")
    expect(tab.locator("#run")).to_be_enabled()


def test_a_file_beyond_the_limit_is_refused(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    path.write_bytes(b"a line of text\n" * 2_300_000)
    tab = open_page()
    upload(tab, path)
    expect(tab.locator(STATUS_ERROR)).to_contain_text("'huge.txt' is 32.9 MiB and the limit is 32.0 MiB")
    expect(tab.locator("#run")).to_be_enabled()


def test_pasted_text_is_the_document(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("radio", name="Paste").check(force=True)
    tab.locator("#paste textarea").fill(long_text(6))
    tab.locator("#question textarea").fill("What is it about?")
    run_to_the_end(tab)
    tab.get_by_role("tab", name="Kept tokens").click()
    expect(tab.locator("#document-text")).to_contain_text("On day 5 the keeper")


def test_an_empty_question_is_one_sentence(open_page: Open) -> None:
    tab = open_page()
    tab.locator("#question textarea").fill("")
    tab.click("#run")
    expect(tab.locator(STATUS_ERROR)).to_contain_text("The question is empty")
    expect(tab.locator("#run")).to_be_enabled()


def test_a_suggested_question_is_one_click(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("button", name="Who wrote the tower log?").click()
    expect(tab.locator("#question textarea")).to_have_value("Who wrote the tower log?")


def test_presets_and_sliders_agree(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("radio", name="Paper").check(force=True)
    expect(tab.locator("#schedule")).to_contain_text("from layer 4 on")
    expect(tab.locator("#step-2")).to_be_visible()
    expect(tab.locator("#step-3")).to_be_hidden()
    tab.get_by_role("radio", name="3", exact=True).check(force=True)
    expect(tab.locator("#step-3")).to_be_visible()
    expect(tab.get_by_role("radio", name="Custom")).to_be_checked()


def test_steps_that_contradict_each_other_are_named_before_the_run(open_page: Open, site: Served) -> None:
    tab = open_page()
    second = tab.locator("#step-2 input[type=number]").last
    second.fill("80")
    second.press("Enter")
    expect(tab.locator("#schedule .fault")).to_contain_text("Keep must not grow")
    tab.click("#run")
    expect(tab.locator(STATUS_ERROR)).to_contain_text("Keep must not grow")


@pytest.mark.parametrize("width", [1360, 1024])
def test_every_preset_is_in_sight_of_its_row(open_page: Open, width: int) -> None:
    tab = open_page(viewport={"width": width, "height": 900})
    row = tab.locator("#preset .wrap").last
    clipped = row.evaluate(
        """row => [...row.querySelectorAll("label")].filter(label => label.scrollWidth > label.clientWidth
        || label.getBoundingClientRect().right > row.getBoundingClientRect().right + 1).map(label => label.innerText)"""
    )
    assert clipped == []
    assert row.locator("label").count() >= 6
