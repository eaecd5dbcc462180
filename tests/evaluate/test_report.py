"""The report page: self-contained, escaped, complete, and its plot in order."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.errors import ConfigError
from sliminfer.evaluate.pareto import pareto
from sliminfer.evaluate.report import read_result, report_html
from sliminfer.evaluate.scatter import Dot, nice, scatter_svg

ROW = {
    "suite": "needle", "context": 4096, "examples": 10, "failed": 0, "accuracy": 0.9, "accuracy_low": 0.6,
    "accuracy_high": 0.98, "agreement": 1.0, "first_token_kl": 0.0, "ttft_s": 0.5, "prompt_kv_bytes": 1e6,
    "speedup": {"ttft": 2.0, "ttft_flops": 2.5, "efficiency": 0.8, "kv_bytes": None},
}  # fmt: skip
RESULT = {
    "provenance": {"command": "python -m sliminfer eval <x>", "model": "demo", "device": "cpu", "commit": "abc"},
    "commits": ["abc123"],
    "results": [ROW | {"variant": "full"}, ROW | {"variant": "<script>alert(1)</script>", "ttft_s": 0.25}],
}


class Links(HTMLParser):
    """Collects everything a browser would fetch, and whether any script is there."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.fetched.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_else_and_says_where_its_numbers_come_from() -> None:
    page = report_html({"eval": RESULT})
    links = Links()
    links.feed(page)
    assert links.fetched == []
    assert "url(" not in page
    for text in ("python -m sliminfer eval &lt;x&gt;", "abc123", "demo", "0.900", "2.50", "<svg", "1.00", "TTFT, KV"):
        assert text in page


def test_other_results_become_tables() -> None:
    page = report_html({"bench": {"device": "cpu", "rows": [{"variant": "full", "ttft_s": {"median": 0.125}}]}})
    assert "ttft_s.median" in page
    assert "0.125" in page


def test_files_that_are_no_results_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in ("not json", "[1, 2]"):
        path.write_text(content)
        with pytest.raises(ConfigError):
            read_result(path)
    path.write_text(json.dumps(RESULT))
    assert read_result(path)["commits"] == ["abc123"]


numbers = st.floats(0.0, 1.0)
dots = st.builds(
    lambda x, ys, label: Dot(x, sorted(ys)[1], sorted(ys)[0], sorted(ys)[2], label),
    st.floats(1e-4, 1e3), st.tuples(numbers, numbers, numbers), st.text("ab<&\"'", max_size=5),
)  # fmt: skip


@given(st.lists(dots, min_size=1, max_size=15))
def test_a_plot_is_well_formed_and_stays_in_its_frame(found: list[Dot]) -> None:
    svg = scatter_svg(found, "time", "accuracy", "description")
    tree = ElementTree.fromstring(svg)
    _, _, width, height = map(float, tree.attrib["viewBox"].split())
    circles = tree.findall("circle")
    assert len(circles) == len(found)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height
    for number, dot in enumerate(found, start=1):
        assert any(text.text == f"{number}  {dot.label}" for text in tree.findall("text"))
    assert all(0 <= float(text.attrib["y"]) <= height for text in tree.findall("text"))
    joined = [tuple(map(float, pair.split(","))) for pair in tree.findall("polyline")[0].attrib["points"].split()]
    assert len(joined) == len(pareto((dot.x, dot.y) for dot in found))
    assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in itertools.pairwise(joined))
    assert not re.search("nan|inf", svg)


@pytest.mark.parametrize(("value", "expected"), [(0.3, 0.5), (1.0, 1.0), (2.1, 2.5), (7.0, 10.0), (0.0, 1.0)])
def test_axes_end_at_round_numbers(value: float, expected: float) -> None:
    assert nice(value) == pytest.approx(expected)
