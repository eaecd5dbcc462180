"""A link to the setup, the last run as files to take away, and a saved result to open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import gradio as gr

from sliminfer.errors import ConfigError, SlimError
from viz.figures.theme import script
from viz.page import downloads, opening
from viz.page.controls import Controls
from viz.page.downloads import Downloads
from viz.page.opening import OpenBox
from viz.page.panes import status
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.tab import Updates

OWN_TEXT = "example="  # of a link: no example, but a text of one's own
LINK_LABEL = "Link to this setup"
COPIED = '<p class="fig-sr" role="status"></p>'  # says to a screen reader what became of copying a figure
OWN_LINK_LABEL = "Link to this setup. Your own text is not in it: whoever opens it must paste or upload the text"


@dataclass(frozen=True)
class ShareBox:
    """The link, the downloads, and what opens them again."""

    make_link: gr.Button
    link: gr.Textbox
    downloads: Downloads
    open: OpenBox


@dataclass(frozen=True)
class ShareEvents:
    """The callback of the link."""

    site: Site
    controls: Controls
    box: ShareBox
    status: gr.HTML

    def link(self, request: gr.Request, *values: Any) -> Updates:
        """The address that brings back the setup as it stands; the visitor's own text is not part of it."""
        try:
            setup = self.controls.read(values)
        except SlimError as error:
            return {self.status: status(str(error), "error")}
        query = "&".join(filter(None, (setup.to_query(), "" if setup.example else OWN_TEXT)))
        label = LINK_LABEL if setup.example else OWN_LINK_LABEL
        return {self.box.link: gr.Textbox(f"{page_address(request.headers)}?{query}", visible=True, label=label)}


def build() -> ShareBox:
    """Lay the box out; downloads wait for a run."""
    with gr.Row(elem_id="share"):
        make_link = gr.Button("Link to this setup", size="sm", min_width=120, scale=0, elem_id="make-link")
        files = downloads.build()
        opens = opening.build()
    gr.HTML(COPIED, apply_default_css=False, js_on_load=script("copy"))
    link = gr.Textbox(
        label=LINK_LABEL, visible=False, interactive=False, elem_id="link",
        buttons=["copy"],
    )  # fmt: skip
    return ShareBox(make_link, link, files, opens)


def page_address(headers: Mapping[str, str]) -> str:
    """The page's own address as the visitor's browser sees it, without the query."""
    parts = urlsplit(headers.get("referer") or headers.get("origin") or "")
    return f"{parts.scheme}://{parts.netloc}{parts.path or '/'}"


def setup_of_link(site: Site, query: Mapping[str, str]) -> Setup:
    """The setup a link asks for, on the page's own for the rest. Raises SlimError where it cannot be shown."""
    setup = Setup.from_query(query, site.start)
    known = site.known(setup.model)
    if "prune" not in query and setup.model != site.start.model:
        setup = replace(setup, steps=site.preset(known.name))
    chosen = site.example(setup.example)
    if setup.example and chosen is None:
        raise ConfigError(f"The link's example {setup.example!r} is not on this page: choose a document.")
    if "question" not in query and chosen is not None:
        setup = replace(setup, question=chosen.suggestions[0].question)
    setup.config().check_model(known.shape.layers)
    return setup
