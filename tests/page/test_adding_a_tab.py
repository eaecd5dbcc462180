"""A tab is one file and its line in the list: the one that docs/adding.md prints, on a page that is served."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client

from tests.page.serving import Served, served
from tests.page.words_tab import words_tab
from viz.page import layout
from viz.page.tab import Tab
from viz.page.tabs import TABS


def labels(page: gr.Blocks) -> list[str]:
    """What is written on the tabs of a page, in order."""
    return [str(part.label) for part in page.blocks.values() if isinstance(part, gr.Tab)]


def test_the_page_has_the_tab_and_programs_its_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tabs = (*TABS, words_tab(tmp_path, monkeypatch))
    with served(tmp_path, tabs) as up:
        client = Client(up.url, verbose=False)
        shown = [part["props"]["label"] for part in client.config["components"] if part["type"] == "tabitem"]
        assert shown == [tab.label for tab in tabs]
        assert client.predict("nine lamps were lit", api_name="/words") == "4 words"
        assert client.predict(4096, api_name="/models")


def test_a_page_without_the_tab_has_neither(page: Served) -> None:
    usual = ["Compare", "Kept tokens", "Conversation", "Diffusion", "Cache", "Runs", "Methods", "About"]
    assert labels(layout.build(page.site)) == usual
    names = Client(page.url, verbose=False).view_api(return_format="dict")["named_endpoints"]
    assert list(names) == ["/compare", "/ask", "/diffusion", "/read_document", "/models"]


@pytest.mark.parametrize("tab", TABS, ids=lambda tab: tab.id)
def test_no_tab_needs_another(page: Served, tab: type[Tab]) -> None:
    assert labels(layout.build(page.site, (tab,))) == [tab.label]


def test_a_tab_needs_no_more_than_to_be_laid_out(page: Served) -> None:
    class Bare(Tab):
        id = "bare"
        label = "Bare"

        @classmethod
        def build(cls, site: object, first: object) -> Bare:
            gr.HTML("Nothing happens here.", elem_id="bare")
            return cls()

    built = layout.build(page.site, (Bare,))
    assert labels(built) == ["Bare"]
    assert any(getattr(part, "elem_id", None) == "bare" for part in built.blocks.values())
