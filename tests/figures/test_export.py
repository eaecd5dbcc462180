"""Exports open again: JSON, CSV, PNG, ZIP, and a report that asks nothing of any network."""

from __future__ import annotations

import io
import json
import re
import zipfile

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import diffusion_of, events_of, prompt_of, run_of
from viz.figures.diffusion import removal_chart, similarity_grid
from viz.figures.export import archive, csv_bytes, json_bytes, run_files, run_tables
from viz.figures.report import report_html
from viz.figures.table import Table

CONFIG = SlimConfig.preset("paper", 12)
HOSTILE = '</div><script src="https://evil.example/x.js"></script><img src=x onerror=alert(1)> =cmd() '
PROMPT = prompt_of(HOSTILE + "the harbour ledger lists every crate " * 120)
RUN = run_of(PROMPT, CONFIG, 12)


def test_every_file_of_a_run_opens() -> None:
    files = run_files(RUN, CONFIG, "demo", [(40, 60)], {"removal": removal_chart(diffusion_of())})
    bundle = zipfile.ZipFile(io.BytesIO(archive(files)))
    assert bundle.testzip() is None
    assert set(bundle.namelist()) == set(files)
    for name in bundle.namelist():
        content = bundle.read(name)
        if name.endswith(".png"):
            Image.open(io.BytesIO(content)).verify()
        elif name.endswith(".csv"):
            assert len(pd.read_csv(io.BytesIO(content))) > 0
        else:
            json.loads(content)
    assert {"run.json", "kept_tokens.png", "removal.csv", "document.csv"} <= set(files)


def test_an_archive_is_reproducible() -> None:
    assert archive({"a": b"1"}) == archive({"a": b"1"})


def test_the_json_is_the_command_lines_contract() -> None:
    data = json.loads(json_bytes(RUN.to_dict("demo", CONFIG)))
    assert SlimConfig.from_dict(data["config"]) == CONFIG
    assert data["prompt_tokens"] == len(PROMPT)
    assert data["full"]["text"] == RUN.full.text
    kept = data["pruned"]["kept"]
    assert [step["tokens"] for step in kept] == [len(step.kept) for step in RUN.pruned.pruned]
    assert all(sum(b - a for a, b in step["ranges"]) == step["tokens"] for step in kept)


def test_nan_becomes_null() -> None:
    assert json.loads(json_bytes({"a": [float("nan"), float("inf"), 1.5]})) == {"a": [None, None, 1.5]}


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2", "@x", "\tx"])
def test_a_spreadsheet_runs_nothing(text: str) -> None:
    cell = pd.read_csv(io.BytesIO(csv_bytes(Table.of("t", ("a", "b"), [("x", text)]))))["b"][0]
    assert cell == f"'{text}"


def test_tables_of_a_run_are_rectangular() -> None:
    for table in run_tables(RUN, CONFIG, {}).values():
        assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize("extra", [(), (removal_chart(diffusion_of()), similarity_grid(diffusion_of()))])
def test_the_report_is_whole_and_asks_nothing_of_the_network(extra) -> None:
    html = report_html(RUN, CONFIG, "demo <b>", HOSTILE, [(40, 60)], extra)
    soup = BeautifulSoup(html, "html.parser")
    assert "default-src 'none'" in str(soup.select_one("meta[http-equiv]"))
    for node in soup.select("[src], [href]"):
        assert str(node.get("src") or node.get("href")).startswith("data:")
    assert not soup.select("[onerror]")
    pane = soup.select_one(".doc-text")
    assert pane is not None
    assert pane.get_text() == PROMPT.text[slice(*PROMPT.document)]
    assert ("plotly.js" in html) == bool(extra)
    assert html.count("plotly.js v") <= 1
    assert HOSTILE.split()[0] in (soup.select_one("main") or soup).get_text()
    ids = re.findall(r' id="([^"]+)"', html.split("<body>")[1])
    assert len(ids) == len(set(ids))


def test_a_run_that_was_cut_short_still_reports() -> None:
    events = list(events_of(PROMPT, CONFIG, 12))
    for length in (0, 1, 8, len(events) // 2, len(events) - 2):
        run = RunResult()
        for event in events[:length]:
            run = run.after(event)
        html = report_html(run, CONFIG, "demo", "Where?")
        assert "nan" not in BeautifulSoup(html, "html.parser").get_text().lower().split()
        assert "run.json" in run_files(run, CONFIG, "demo")
