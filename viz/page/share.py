"""A link to the setup, and the last run as files to take away."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr

from sliminfer.errors import ConfigError, SlimError
from viz.figures.export import archive, csv_bytes, run_files
from viz.figures.picture import picture_png
from viz.figures.race import race_gif
from viz.figures.report import report_html
from viz.page.controls import Controls
from viz.page.kept import token_evidence
from viz.page.panes import status
from viz.page.session import Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.tab import Tab, Updates
from viz.page.tabs import TABS

OWN_TEXT = "example="  # of a link: no example, but a text of one's own
LINK_LABEL = "Link to this setup"
OWN_LINK_LABEL = "Link to this setup. Your own text is not in it: whoever opens it must paste or upload the text"


@dataclass(frozen=True)
class ShareBox:
    """The link, the five downloads, and the way back for one of them."""

    make_link: gr.Button
    link: gr.Textbox
    picture: gr.DownloadButton
    race: gr.DownloadButton
    report: gr.DownloadButton
    data: gr.DownloadButton
    bundle: gr.DownloadButton
    opener: gr.UploadButton

    @property
    def downloads(self) -> list[Any]:
        return [self.picture, self.race, self.report, self.data, self.bundle]


@dataclass(frozen=True)
class ShareEvents:
    """The callbacks of the box, and of a visit by link."""

    site: Site
    controls: Controls
    box: ShareBox
    status: gr.HTML
    tabs: Sequence[type[Tab]]

    def link(self, request: gr.Request, *values: Any) -> Updates:
        """The address that brings back the setup as it stands; the visitor's own text is not part of it."""
        try:
            setup = self.controls.read(values)
        except SlimError as error:
            return {self.status: status(str(error), "error")}
        query = "&".join(filter(None, (setup.to_query(), "" if setup.example else OWN_TEXT)))
        label = LINK_LABEL if setup.example else OWN_LINK_LABEL
        return {self.box.link: gr.Textbox(f"{page_address(request.headers)}?{query}", visible=True, label=label)}

    def files(self, visitor: Visitor) -> Iterator[Updates]:
        """The visitor's run as files behind the buttons; greyed where there is none."""
        if visitor.ran is None or visitor.run.view.comparison is None:
            yield {button: gr.DownloadButton(interactive=False) for button in self.box.downloads}
            return
        with tempfile.TemporaryDirectory() as folder:  # Gradio copies the files while this waits
            paths = write_files(visitor, Path(folder), self.tabs)
            yield {
                button: gr.DownloadButton(value=str(path), interactive=True)
                for button, path in zip(self.box.downloads, paths, strict=True)
            }


def build() -> ShareBox:
    """Lay the box out; downloads wait for a run."""
    with gr.Row(elem_id="share"):
        make_link = gr.Button("Link to this setup", size="sm", min_width=120, scale=0, elem_id="make-link")
        picture = gr.DownloadButton("Picture, PNG", size="sm", interactive=False, min_width=120, scale=0)
        race = gr.DownloadButton("Race, GIF", size="sm", interactive=False, min_width=100, scale=0)
        report = gr.DownloadButton("Report, HTML", size="sm", interactive=False, min_width=120, scale=0)
        data = gr.DownloadButton("Data, JSON", size="sm", interactive=False, min_width=120, scale=0)
        bundle = gr.DownloadButton(
            "Figures and tables, ZIP", size="sm", interactive=False, min_width=160, scale=0, elem_id="bundle"
        )
        opener = gr.UploadButton(
            "Open a result", file_types=[".json"], type="binary", size="sm", min_width=120, scale=0,
            elem_id="open-result",
        )  # fmt: skip
    link = gr.Textbox(
        label=LINK_LABEL, visible=False, interactive=False, elem_id="link",
        buttons=["copy"],
    )  # fmt: skip
    return ShareBox(make_link, link, picture, race, report, data, bundle, opener)


def write_files(visitor: Visitor, folder: Path, tabs: Sequence[type[Tab]] = TABS) -> tuple[Path, ...]:
    """Picture, race, report, data and archive of the visitor's last run in `folder`, with what `tabs` have on it."""
    assert visitor.ran is not None
    view, setup = visitor.run.view, visitor.ran
    prompt = view.pruned.prompt
    evidence = () if prompt is None else token_evidence(prompt, visitor.ran_evidence)
    figures = {name: figure for tab in tabs for name, figure in tab.figures(visitor).items()}
    tables = {name: table for tab in tabs for name, table in tab.tables(visitor).items()}
    config = setup.config()
    files = run_files(view, config, setup.model, evidence, figures, asked(visitor, setup))
    files |= {f"{name}.csv": csv_bytes(table) for name, table in tables.items()}
    report = report_html(view, config, setup.model, setup.question, evidence, tuple(figures.values()))
    picture = picture_png(view, config, setup.model, setup.question, evidence)
    race = race_gif(view, setup.model, setup.question)
    contents = {
        "sliminfer_run.png": picture,
        "sliminfer_race.gif": race,
        "sliminfer_report.html": report.encode("utf-8"),
        "sliminfer_run.json": files["run.json"],
        "sliminfer_run.zip": archive({"picture.png": picture, "race.gif": race, **files}),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return tuple(folder / name for name in contents)


def asked(visitor: Visitor, setup: Setup) -> dict[str, str]:
    """What a run was about, for whoever opens its data later: question, name of the document, and the moment in UTC."""
    of = visitor.belongs.get("run")
    document = visitor.document if of is None else of.document
    moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"question": setup.question, "document": "" if document is None else document.name, "date": moment}


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
