"""The marked document: nothing is lost, nothing is interpreted, and every character finds its token."""

from __future__ import annotations

import base64
import itertools
import math
import time

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import SlimConfig, parse_steps
from tests.figures.synthetic import long_prompt, prompt_of, run_of
from viz.figures.document import LEVELS, Shading, document_html, document_table, text_runs
from viz.figures.kept_map import KeptMap

LAYERS = 12
CONFIG = SlimConfig.preset("paper", LAYERS, block_size=4, local=4)
HOSTILE = "<script>alert('x')</script> & </div></figure> \"quoted\" &lt;b&gt; ${x} `y` {{z}} \U0001f600 \r\n end\ttab "


def map_of(prompt: Prompt, config: SlimConfig = CONFIG) -> KeptMap:
    return KeptMap.from_side(run_of(prompt, config, LAYERS).pruned, config, [(6, 9)])


def shown(html: str) -> str:
    found = BeautifulSoup(html, "html.parser").select_one(".doc-text")
    assert found is not None
    return found.get_text()


@pytest.mark.parametrize("layer", [None, 0, 5, 11])
@pytest.mark.parametrize("text", [HOSTILE * 20, "one", "a\n\nb\n" * 900, "no break " * 3000])
def test_the_shown_text_is_the_document(text: str, layer: int | None) -> None:
    prompt = prompt_of(text)
    html = document_html(map_of(prompt), prompt, layer)
    assert shown(html) == text
    assert "<script" not in html


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_text_survives(text: str) -> None:
    prompt = prompt_of(text)
    assert shown(document_html(map_of(prompt), prompt)) == text.replace("\0", "\ufffd")


def test_runs_join_to_the_document_and_follow_the_tokens() -> None:
    prompt = long_prompt(900)
    kept = map_of(prompt)
    shading = Shading.by_survival(kept)
    runs = text_runs(prompt, shading.levels, kept.regions.evidence)
    text = prompt.text[slice(*prompt.document)]
    assert "".join(text[run.start : run.end] for run in runs) == text
    assert all(a.end == b.start for a, b in itertools.pairwise(runs))
    assert all((a.level, a.evidence) != (b.level, b.evidence) for a, b in itertools.pairwise(runs))
    at = {run.start: run for run in runs}
    for token, span in enumerate(prompt.document_spans()):
        if span is None:
            continue
        run = at[max(start for start in at if start <= span[0])]
        assert run.level == shading.levels[token]
        assert run.evidence == (6 <= token < 9)


def test_one_element_per_run_not_per_token() -> None:
    prompt = long_prompt(4096)
    config = CONFIG.with_changes(block_size=32)
    html = document_html(map_of(prompt, config), prompt)
    assert html.count("data-token=") < 4096 / 8


def test_tokens_that_share_a_character_or_leave_gaps() -> None:
    text = "<u>\nab\U0001f600c   d\nQuestion: q\nAnswer:"
    spans = ((0, 4), (4, 5), (5, 6), (6, 7), (6, 7), (6, 7), (7, 8), (11, 12), (12, 24), (24, 32))
    prompt = Prompt(tuple(range(10)), text, spans, document=(4, 12), question=(8, 10))
    levels = np.array([0, 0, 1, 0, 1, 1, 0, 1, 0, 0])
    runs = text_runs(prompt, levels)
    assert [(r.start, r.end, r.token, r.level) for r in runs] == [
        (0, 1, 1, 0), (1, 2, 2, 1), (2, 7, 3, 0), (7, 8, 7, 1),
    ]  # fmt: skip


def test_the_token_table_counts_as_the_browser_counts() -> None:
    prompt = prompt_of("one \U0001f600\U0001f600 two three " * 40)
    html = document_html(map_of(prompt), prompt)
    pane = BeautifulSoup(html, "html.parser").select_one(".doc-text")
    assert pane is not None
    count = int(str(pane["data-count"]))
    tokens, starts = np.frombuffer(base64.b64decode(str(pane["data-table"])), "<u4").reshape(2, count)
    wide = shown(html).encode("utf-16-le")
    for token, start in zip(tokens.tolist(), starts.tolist(), strict=True):
        span = prompt.document_spans()[token]
        assert span is not None
        text = shown(html)[span[0] :]
        assert wide[2 * start :].decode("utf-16-le") == text


def test_shades_are_few_and_ordered() -> None:
    prompt = long_prompt(600)
    steps = ",".join(f"{layer}:{1 - layer / 14:.2f}" for layer in range(1, LAYERS))
    config = CONFIG.with_changes(steps=parse_steps(steps))
    shading = Shading.by_survival(map_of(prompt, config))
    assert len(shading.survived) <= LEVELS
    assert list(shading.survived) == sorted(shading.survived)
    assert shading.levels.max() < LEVELS


def test_the_table_counts_every_document_token() -> None:
    prompt = long_prompt(800)
    table = document_table(map_of(prompt), prompt)
    inside = sum(span is not None for span in prompt.document_spans())
    assert sum(int(row[1]) for row in table.rows) == inside


def test_32k_tokens_are_marked_fast() -> None:
    prompt = long_prompt(32_768)
    kept = KeptMap.from_side(run_of(prompt, SlimConfig.preset("paper", LAYERS), LAYERS).pruned, CONFIG)
    best = math.inf
    for _ in range(3):
        begun = time.perf_counter()
        document_html(kept, prompt)
        best = min(best, time.perf_counter() - begun)
    assert best < 0.6
