"""Links, exports, and visitors who must not see each other's results."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_first_light import STATUS_ERROR, run_to_the_end
from tests.page.serving import QUESTION, Served
from viz.page.examples import examples
from viz.page.share import setup_of_link
from viz.page.takeaway import KINDS

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


def test_a_link_brings_the_setup_to_another_visitor(open_page: Open) -> None:
    tab = open_page()
    tab.get_by_role("radio", name="Aggressive").check(force=True)
    expect(tab.locator("#schedule")).to_contain_text("from layer 3 on")
    tab.locator("#question textarea").fill("Where is the harbour?")
    tab.get_by_role("button", name="Link to this setup").click()
    expect(tab.locator("#link textarea, #link input")).to_have_value(re.compile("question=Where"))
    link = tab.locator("#link textarea, #link input").input_value()
    other = open_page("?" + urlsplit(link).query)
    expect(other.get_by_role("radio", name="Aggressive")).to_be_checked()
    expect(other.locator("#question textarea")).to_have_value("Where is the harbour?")
    expect(other.locator("#schedule")).to_contain_text("from layer 3 on")


def test_a_link_to_an_example_asks_what_the_example_suggests(site: Served) -> None:
    log = next(example for example in examples() if example.id == "expedition_log")
    offering = replace(site.site, examples=(log,))
    assert setup_of_link(offering, {"example": log.id}).question == log.suggestions[0].question
    assert setup_of_link(offering, {"example": log.id, "question": "Why?"}).question == "Why?"


def test_a_broken_link_is_one_sentence(open_page: Open) -> None:
    tab = open_page("?prune=99:25%25")
    expect(tab.locator(STATUS_ERROR)).to_contain_text("Prune layer 99 does not exist")
    expect(tab.locator("#question textarea")).to_have_value(QUESTION)


def test_every_export_opens(open_page: Open, chromium: Browser, tmp_path: Path) -> None:
    tab = open_page()
    buttons = [tab.locator("#share").get_by_role("button", name=kind.label) for kind in KINDS]
    for button in buttons:
        expect(button).to_be_disabled()
    sent: list[str] = []
    tab.on("response", lambda response: sent.append(response.url))
    run_to_the_end(tab)
    saved = {}
    for button in buttons:
        expect(button).to_be_enabled()
        with tab.expect_download() as waiting:
            button.click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        saved[path.suffix] = path
    assert not [url for url in sent if "file=" in url], "a file has an address that works for everyone"
    data = json.loads(saved[".json"].read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert data["full"]["text"]
    assert data["pruned"]["kept"]
    with zipfile.ZipFile(saved[".zip"]) as bundle:
        assert bundle.testzip() is None
        kinds = {Path(name).suffix for name in bundle.namelist()}
        assert kinds == {".json", ".png", ".csv", ".gif"}
        for name in bundle.namelist():
            content = bundle.read(name)
            if name.endswith((".png", ".gif")):
                assert min(Image.open(io.BytesIO(content)).size) > 50
            if name.endswith(".csv"):
                assert len(list(csv.reader(io.StringIO(content.decode("utf-8"))))) > 1
    requests: list[str] = []
    report = chromium.new_page()
    report.on("request", lambda request: requests.append(request.url))
    report.goto(saved[".html"].as_uri())
    expect(report.get_by_role("heading", name="What was kept")).to_be_visible()
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    report.close()


def test_two_visitors_see_only_their_own_results(open_page: Open) -> None:
    first, second = open_page(), open_page()
    for tab, question in ((first, "Who lit the lamp?"), (second, "What is the weather?")):
        tab.locator("#question textarea").fill(question)
        tab.click("#run")
    for tab, own, others in ((first, "Who lit", "What is the weather"), (second, "What is the weather", "Who lit")):
        expect(tab.locator("#status .status.done")).to_be_visible(timeout=90_000)
        tab.get_by_role("tab", name="Kept tokens").click()
        asked = tab.locator("#document-text .doc-after")
        expect(asked).to_contain_text(own)
        expect(asked).not_to_contain_text(others)


def test_closing_the_page_stops_its_run(open_page: Open, site: Served) -> None:
    tab = open_page()
    tab.locator("#example input").click()
    tab.get_by_role("option", name="The archive log").click()
    expect(tab.locator("#about-document")).to_contain_text("The archive log")
    tab.locator("#question textarea").fill("What is the code of the gate?")
    tab.click("#run")
    expect(tab.locator("#pane-full .pane.reading")).to_be_visible()
    (flag,) = site.site.stops.under_way()
    tab.context.close()
    assert flag.wait(20), "the run goes on although nobody looks"


def test_repeated_runs_give_a_median(open_page: Open) -> None:
    tab = open_page("?repeats=3")
    expect(tab.locator("#status")).to_have_text(re.compile(r"^\s*Ready\.\s*$"))  # the link's setup has arrived
    run_to_the_end(tab)
    expect(tab.locator("#status")).to_contain_text("3 runs of each side")
    expect(tab.locator("#details")).to_contain_text("Median of 3 runs of each side")
